"""The fault laboratory: network namespaces, and real faults made in them, each with the truth of what was done.

A scenario is a function of a stage (two hosts joined by a link, three in a row, a host on a puppet's wire) and a
family. It makes one fault on the real kernel and gives back a `Truth`: what a perfect observer would report.
"""
