//! Nodes as namespaces on one machine: the bench on which the demo and the tests run.
