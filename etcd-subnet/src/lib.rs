//! Who owns which pod subnet: the subnet manager over etcd and over files.
