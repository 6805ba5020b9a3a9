"""The pods of this node, by list and watch at the Kubernetes API: names, labels, addresses, workloads.

It needs only the permission to get, list and watch pods.
"""
