//! Writing a network's configuration once, for everybody: what `plexus overlay init` does. Repeating it changes nothing, and a configuration
//! that nodes already live by is replaced only when that is asked for.

use crate::config::NetworkConfig;
use crate::manager::{Error, StoredConfig, SubnetManager};
use serde_json::Value;

/// What became of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initialized {
    /// There was no configuration; now there is this one.
    Created,
    /// The same configuration was there already, perhaps spelled differently.
    Unchanged,
    /// A different one was there and has been replaced, as asked.
    Replaced {
        /// The text that was there.
        previous: String,
    },
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Another configuration is there, and replacing it was not asked for.
    #[error(
        "{location}: another network configuration is there already, nothing written; force replaces it: {present}"
    )]
    Differs {
        /// Key or file of the configuration.
        location: String,
        /// The text that is there.
        present: String,
    },
    /// The text is not a configuration, or the store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Makes `text` the configuration of the network.
///
/// # Errors
/// The text is not a valid configuration, a different one is there and `force` is false, or the store failed.
pub async fn initialize(manager: &dyn SubnetManager, text: &str, force: bool) -> Result<Initialized, InitError> {
    let text = text.trim();
    let checked = NetworkConfig::parse(text);
    checked.map_err(|source| Error::Config { location: "the text given".into(), source })?;
    loop {
        let present = manager.stored_config().await?;
        match &present {
            Some(stored) if same(&stored.text, text) => return Ok(Initialized::Unchanged),
            Some(stored) if !force => {
                let location = manager.config_location();
                return Err(InitError::Differs { location, present: stored.text.trim().to_owned() });
            }
            _ => {}
        }
        // false: somebody wrote between reading and writing, so look again at what is there now
        if manager.store_config(text, present.as_ref()).await? {
            return Ok(match present {
                None => Initialized::Created,
                Some(StoredConfig { text: previous, .. }) => Initialized::Replaced { previous },
            });
        }
    }
}

/// Whether two texts are the same JSON, whatever their blanks and the order of their fields.
fn same(left: &str, right: &str) -> bool {
    match (serde_json::from_str::<Value>(left), serde_json::from_str::<Value>(right)) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}
