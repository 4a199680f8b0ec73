//! Tests of the manifest reader.

use super::*;

const ARTICLE: &str = r#"
apiVersion: "k8s.cni.cncf.io/v1"
kind: NetworkAttachmentDefinition
metadata:
  name: flannel.2
spec:
  config: '{
    "cniVersion": "0.3.0",
    "type": "flannel"
  }'
---
apiVersion: v1
kind: Pod
metadata:
  name: overlay2pod
  annotations:
    k8s.v1.cni.cncf.io/networks: '[
      { "name": "flannel.2" }
    ]'
spec:
  nodeName: n1
  hostNetwork: false
  containers:
  - name: c
    image: x
"#;

#[test]
fn pods_and_nads_of_a_text_are_read() {
    let manifest = parse(ARTICLE).unwrap();
    let (pod, nad) = (&manifest.pods[0], &manifest.nads[0]);
    assert_eq!((nad.namespace.as_str(), nad.name.as_str()), ("default", "flannel.2"));
    let config: Value = serde_json::from_str(&nad.config).unwrap();
    assert_eq!(config["type"], "flannel");
    assert_eq!((pod.name.as_str(), pod.node_name.as_deref(), pod.host_network), ("overlay2pod", Some("n1"), false));
    let text = &pod.annotations[crate::annotation::NETWORKS];
    assert_eq!(crate::annotation::parse(text, "default").unwrap()[0].name, "flannel.2");
}

#[test]
fn json_is_read_too_several_documents_and_lists_included() {
    let text = r#"{"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n","uid":"u"}},
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","annotations":{"k":7}}}]}
        {"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinitionList","items":[{"metadata":{"name":"b"}}]}"#;
    let manifest = parse(text).unwrap();
    assert_eq!((manifest.pods[0].namespace.as_str(), manifest.pods[0].uid.as_deref()), ("n", Some("u")));
    assert_eq!((manifest.nads[0].name.as_str(), manifest.nads[0].config.as_str()), ("b", ""));
}

#[test]
fn flow_style_yaml_is_not_mistaken_for_broken_json() {
    assert_eq!(parse("{apiVersion: v1, kind: Pod, metadata: {name: a}}").unwrap().pods[0].name, "a");
}

#[test]
fn empty_documents_and_other_kinds_are_skipped() {
    for text in ["", "---\n", "# nothing\n---\n---\n", "apiVersion: apps/v1\nkind: DaemonSet\nspec: 7\n"] {
        assert_eq!(parse(text), Ok(Manifest::default()), "{text:?}");
    }
}

#[test]
fn errors_name_document_and_key() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n";
    for (text, place) in [
        (format!("{pod}---\n{pod}  annotations:\n    k: 7\n"), "document 2: metadata.annotations[\"k\"]: must be a string, not a number"),
        (format!("{pod}---\nkind: [\n"), "at line"),
        ("apiVersion: v1\nkind: Pod\n".to_owned(), "document 1: metadata.name: is missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: A}\n".to_owned(), "document 1: metadata.name: \"A\""),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: a.b}\n".to_owned(), "metadata.namespace"),
        (format!("{pod}spec: {{hostNetwork: 1}}\n"), "spec.hostNetwork: must be a boolean"),
        ("apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: a}\nspec: {config: {type: b}}\n".to_owned(), "spec.config: must be a string that holds JSON"),
        ("apiVersion: v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: a}\n".to_owned(), "document 1: apiVersion: must be \"k8s.cni.cncf.io/v1\""),
        ("- a\n".to_owned(), "document 1: the document: must be an object, not a list"),
        ("a: b\n".to_owned(), "document 1: kind: is missing"),
        ("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: v1, kind: Pod}\n".to_owned(), "document 1: items[1].metadata.name"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(place), "{text}\n{error}");
    }
}
