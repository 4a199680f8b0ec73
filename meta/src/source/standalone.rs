//! Pods and NADs from a directory of manifests: the mode without a cluster. The manifests are those one would hand to
//! kubectl, in files of any name; files named for their object are found without looking into the others.

use super::error::FileError;
use super::{Nad, Pod, PodKey, Source, SourceError};
use netattach_crd::manifest::{self, Manifest};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A directory of manifests.
pub struct Standalone {
    directory: PathBuf,
}

impl Standalone {
    /// The manifests in `directory`. It is read when something is looked for.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Looks for an object called `name`: first in the files that are named for it, then in all others in the order of
    /// their names. A file that cannot be read is reported only when the object is nowhere else.
    fn find<T>(&self, wanted: &Wanted<'_>, pick: impl Fn(Manifest) -> Option<T>) -> Result<Option<T>, SourceError> {
        let mut broken = Vec::new();
        let mut look = |path: &Path| match read(path, wanted.name) {
            Ok(manifest) => manifest.and_then(&pick),
            Err(error) => {
                broken.push((path.to_owned(), error));
                None
            }
        };
        let named = self.named_for(wanted);
        if let Some(found) = named.iter().find_map(|path| look(path)) {
            return Ok(Some(found));
        }
        let others = self.files()?.into_iter().filter(|path| !named.contains(path));
        if let Some(found) = others.into_iter().find_map(|path| look(&path)) {
            return Ok(Some(found));
        }
        if broken.is_empty() {
            return Ok(None);
        }
        let what = format!("{} {}/{} in {}", wanted.kind, wanted.namespace, wanted.name, self.directory.display());
        Err(SourceError::Broken { what, broken })
    }

    fn named_for(&self, wanted: &Wanted<'_>) -> Vec<PathBuf> {
        let Wanted { kind, namespace, name } = wanted;
        let stems = [format!("{namespace}_{name}"), (*name).to_owned(), format!("{kind}-{name}")];
        let with_extensions =
            |stem: &String| EXTENSIONS.map(|extension| self.directory.join(format!("{stem}.{extension}")));
        stems.iter().flat_map(with_extensions).collect()
    }

    fn files(&self) -> Result<Vec<PathBuf>, SourceError> {
        let failed = |cause| SourceError::Directory { directory: self.directory.clone(), cause };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().and_then(OsStr::to_str).is_some_and(|extension| EXTENSIONS.contains(&extension)) {
                files.push(path);
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

/// What is looked for.
struct Wanted<'a> {
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
}

/// The content of a file, unless it is none or does not mention the name: most files are done with after that.
fn read(path: &Path, name: &str) -> Result<Option<Manifest>, FileError> {
    let text = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8_lossy(&text);
    if text.contains(name) { Ok(Some(manifest::parse(&text)?)) } else { Ok(None) }
}

impl Source for Standalone {
    fn pod(&self, key: &PodKey) -> Result<Option<Pod>, SourceError> {
        let wanted = Wanted { kind: "pod", namespace: &key.namespace, name: &key.name };
        let is_it = |pod: &Pod| pod.namespace == key.namespace && pod.name == key.name;
        self.find(&wanted, |manifest| manifest.pods.into_iter().find(is_it))
    }

    fn nad(&self, namespace: &str, name: &str) -> Result<Option<Nad>, SourceError> {
        let wanted = Wanted { kind: "nad", namespace, name };
        let is_it = |nad: &Nad| nad.namespace == namespace && nad.name == name;
        self.find(&wanted, |manifest| manifest.nads.into_iter().find(is_it))
    }

    /// Nothing to write: the journal of the node keeps the status, and the manifests belong to the user.
    fn publish(&self, _pod: &PodKey, _status: &str) -> Result<(), SourceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, Standalone) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let source = Standalone::new(directory.path());
        (directory, source)
    }

    fn pod(name: &str, node: &str) -> String {
        format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec: {{nodeName: {node}}}\n")
    }

    fn key(name: &str) -> PodKey {
        PodKey { namespace: "default".to_owned(), name: name.to_owned(), uid: None }
    }

    #[test]
    fn files_named_for_the_object_come_first() {
        let (directory, source) = directory(&[
            ("a.yaml", &pod("web", "other")),
            ("pod-web.yaml", &pod("web", "third")),
            ("web.yaml", &pod("web", "second")),
            ("default_web.yml", &pod("web", "first")),
        ]);
        for (node, file) in
            [("first", "default_web.yml"), ("second", "web.yaml"), ("third", "pod-web.yaml"), ("other", "a.yaml")]
        {
            assert_eq!(source.pod(&key("web")).unwrap().unwrap().node_name.as_deref(), Some(node));
            fs::remove_file(directory.path().join(file)).unwrap();
        }
        assert_eq!(source.pod(&key("web")).unwrap(), None);
    }

    #[test]
    fn an_object_may_be_anywhere_in_any_file() {
        let nad = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: flannel.2, namespace: nets}\n";
        let all = format!("{}---\n{nad}", pod("web", "n"));
        let (_directory, source) = directory(&[("all.yaml", &all), ("notes.txt", "web flannel.2 {"), ("z.json", "{}")]);
        assert_eq!(source.nad("nets", "flannel.2").unwrap().unwrap().config, "");
        assert_eq!(source.nad("default", "flannel.2").unwrap(), None);
        assert!(source.pod(&key("web")).unwrap().is_some());
    }

    #[test]
    fn a_broken_file_matters_only_when_nothing_is_found() {
        let (_directory, source) = directory(&[
            ("a.yaml", "kind: [ # web\n"),
            ("b.yaml", "kind: [ # somebody else\n"),
            ("c.yaml", &pod("web", "n")),
            ("web2.yaml", "metadata: web2"),
        ]);
        assert!(source.pod(&key("web")).unwrap().is_some());
        assert_eq!(source.pod(&key("nobody")).unwrap(), None);
        let error = source.pod(&key("web2")).unwrap_err().to_string();
        assert!(
            error.contains("pod default/web2") && error.contains("web2.yaml cannot be read: document 1: kind"),
            "{error}"
        );
        assert!(!error.contains("b.yaml"), "{error}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_that_names_it() {
        let error = Standalone::new("/nonexistent/manifests").pod(&key("a")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/manifests"), "{error}");
    }
}
