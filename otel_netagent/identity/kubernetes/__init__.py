"""The pods of this node, by list and watch at the Kubernetes API: names, labels, addresses, workloads.

The only right that it needs is to get, list and watch pods.
"""
