//! From the configuration of a store to the subnet manager that speaks to it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use etcd_subnet::SubnetManager;
use etcd_subnet::etcd::{EtcdManager, EtcdSettings};
use etcd_subnet::file::FileManager;

use super::{EtcdConfig, StoreConfig};

/// Opens a store. Nothing is asked of it yet, except that TLS files are read.
///
/// # Errors
/// Settings that cannot work.
pub fn open_store(store: &StoreConfig) -> Result<Arc<dyn SubnetManager>> {
    store.check()?;
    match (&store.file, &store.etcd) {
        (Some(directory), _) => Ok(Arc::new(FileManager::new(directory))),
        (None, Some(etcd)) => Ok(Arc::new(EtcdManager::new(settings(etcd)?)?)),
        (None, None) => bail!("no store"),
    }
}

fn settings(etcd: &EtcdConfig) -> Result<EtcdSettings> {
    Ok(EtcdSettings {
        endpoints: etcd.endpoints.clone(),
        prefix: etcd.prefix.clone(),
        ca_file: etcd.ca.clone(),
        cert_file: etcd.cert.clone(),
        key_file: etcd.key.clone(),
        username: etcd.username.clone(),
        password: etcd.password_file.as_deref().map(password).transpose()?,
        ..EtcdSettings::default()
    })
}

/// Only the path ever appears in a message.
fn password(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("read the password file {}", file.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
