//! `subnet.env`: the text by which the node's overlay tells the CNI plugin which network and subnet it has. Text in, text out, plus the one
//! function that puts it on disk whole; nothing here knows of a store.

use ipnet::{Ipv4Net, Ipv6Net};
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::Path;
use std::str::FromStr;

/// What `subnet.env` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubnetEnv {
    /// `FLANNEL_NETWORK`: the whole overlay; several, separated by commas, are read though flannel never writes them.
    pub networks: Vec<Ipv4Net>,
    /// `FLANNEL_SUBNET`: the first host address of the node's subnet and its prefix (`10.5.15.1/24`).
    pub subnet: Option<Ipv4Net>,
    /// `FLANNEL_IPV6_NETWORK`.
    pub ipv6_networks: Vec<Ipv6Net>,
    /// `FLANNEL_IPV6_SUBNET`.
    pub ipv6_subnet: Option<Ipv6Net>,
    /// `FLANNEL_MTU`: what fits into the overlay, in bytes.
    pub mtu: u32,
    /// `FLANNEL_IPMASQ`: the overlay masquerades, so the plugin need not.
    pub ip_masq: bool,
}

/// Why a `subnet.env` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// Variables that must be there are not; names as in the file, separated by commas.
    #[error("is missing {0}")]
    Missing(String),
    /// A variable has a value that cannot be read.
    #[error("line {line}: {variable}: `{value}` is not {wanted}")]
    Invalid {
        /// Counted from one.
        line: usize,
        /// The variable's name.
        variable: &'static str,
        /// Its value, as written.
        value: String,
        /// What it should have been.
        wanted: &'static str,
    },
}

impl SubnetEnv {
    /// The environment of an IPv4 node that holds `subnet` of `network`.
    pub fn ipv4(network: Ipv4Net, subnet: Ipv4Net, mtu: u32, ip_masq: bool) -> Self {
        let gateway = subnet.hosts().next().unwrap_or(subnet.addr());
        let subnet = Ipv4Net::new(gateway, subnet.prefix_len()).unwrap_or(subnet);
        Self { networks: vec![network.trunc()], subnet: Some(subnet), mtu, ip_masq, ..Self::default() }
    }

    /// The subnet this node had when the file was written, which it asks for again.
    pub fn previous_subnet(&self) -> Option<Ipv4Net> {
        self.subnet.map(|subnet| subnet.trunc())
    }

    /// Writes the file whole: readers see the old text or the new one. Directories are made, the mode is 0644.
    ///
    /// # Errors
    /// Those of the file system, with the path at fault in the text.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        replace(path, self.to_string().as_bytes())
            .map_err(|error| io::Error::new(error.kind(), format!("write {}: {error}", path.display())))
    }
}

/// The text of the file, in flannel's order.
impl fmt::Display for SubnetEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(subnet) = self.subnet {
            writeln!(f, "FLANNEL_NETWORK={}", Commas(&self.networks))?;
            writeln!(f, "FLANNEL_SUBNET={subnet}")?;
        }
        if let Some(subnet) = self.ipv6_subnet {
            writeln!(f, "FLANNEL_IPV6_NETWORK={}", Commas(&self.ipv6_networks))?;
            writeln!(f, "FLANNEL_IPV6_SUBNET={subnet}")?;
        }
        writeln!(f, "FLANNEL_MTU={}", self.mtu)?;
        writeln!(f, "FLANNEL_IPMASQ={}", self.ip_masq)
    }
}

impl FromStr for SubnetEnv {
    type Err = EnvError;

    /// Reads the file. Lines that are no known variable are passed over, of a variable given twice the last counts, `FLANNEL_IPMASQ` is true
    /// for exactly `true`.
    fn from_str(text: &str) -> Result<Self, EnvError> {
        let mut env = Self::default();
        let (mut mtu, mut ip_masq) = (None, None);
        for (index, line) in text.lines().enumerate() {
            let (name, value) =
                line.split_once('=').map_or((line.trim(), ""), |(name, value)| (name.trim(), value.trim()));
            let read = Reader { line: index.saturating_add(1), value };
            match name {
                "FLANNEL_NETWORK" => env.networks = read.list("FLANNEL_NETWORK", "a list of IPv4 networks")?,
                "FLANNEL_SUBNET" => env.subnet = Some(read.one("FLANNEL_SUBNET", "an IPv4 subnet")?),
                "FLANNEL_IPV6_NETWORK" => {
                    env.ipv6_networks = read.list("FLANNEL_IPV6_NETWORK", "a list of IPv6 networks")?
                }
                "FLANNEL_IPV6_SUBNET" => env.ipv6_subnet = Some(read.one("FLANNEL_IPV6_SUBNET", "an IPv6 subnet")?),
                "FLANNEL_MTU" => mtu = Some(read.one("FLANNEL_MTU", "a number of bytes")?),
                "FLANNEL_IPMASQ" => ip_masq = Some(value == "true"),
                _ => {}
            }
        }
        let mut missing = Vec::new();
        if env.networks.is_empty() && env.ipv6_networks.is_empty() {
            missing.extend(["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"]);
        }
        if env.subnet.is_none() && env.ipv6_subnet.is_none() {
            missing.extend(["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"]);
        }
        missing.extend(mtu.is_none().then_some("FLANNEL_MTU"));
        missing.extend(ip_masq.is_none().then_some("FLANNEL_IPMASQ"));
        match (mtu, ip_masq) {
            (Some(mtu), Some(ip_masq)) if missing.is_empty() => Ok(Self { mtu, ip_masq, ..env }),
            _ => Err(EnvError::Missing(missing.join(", "))),
        }
    }
}

/// One variable's value and where it stands.
struct Reader<'a> {
    line: usize,
    value: &'a str,
}

impl Reader<'_> {
    fn one<T: FromStr>(&self, variable: &'static str, wanted: &'static str) -> Result<T, EnvError> {
        self.parse(self.value, variable, wanted)
    }

    fn list<T: FromStr>(&self, variable: &'static str, wanted: &'static str) -> Result<Vec<T>, EnvError> {
        self.value.split(',').map(|part| self.parse(part.trim(), variable, wanted)).collect()
    }

    fn parse<T: FromStr>(&self, text: &str, variable: &'static str, wanted: &'static str) -> Result<T, EnvError> {
        text.parse().map_err(|_| EnvError::Invalid { line: self.line, variable, value: self.value.to_owned(), wanted })
    }
}

struct Commas<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Commas<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}

/// Puts `contents` at `path` by a temporary file beside it and a rename.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
        // whatever the umask of the agent is: the plugin may run as somebody else
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.write_all(contents)?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // the error of the write is the one to tell
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(lines in proptest::collection::vec("(FLANNEL_(NETWORK|SUBNET|MTU|IPMASQ|IPV6_SUBNET))?=?.{0,20}", 0..6)) {
            let _ = lines.join("\n").parse::<SubnetEnv>();
        }
    }

    const V4: &str =
        "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.15.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    fn v4() -> SubnetEnv {
        SubnetEnv::ipv4("10.5.0.0/16".parse().unwrap(), "10.5.15.0/24".parse().unwrap(), 1450, true)
    }

    #[test]
    fn the_text_is_flannels_and_reads_back() {
        assert_eq!(v4().to_string(), V4);
        assert_eq!(V4.parse(), Ok(v4()));
        assert_eq!(v4().previous_subnet().unwrap().to_string(), "10.5.15.0/24");
    }

    #[test]
    fn dual_stack_lines_stand_before_the_mtu() {
        let text = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.15.1/24\nFLANNEL_IPV6_NETWORK=fd00:7::/48\nFLANNEL_IPV6_SUBNET=fd00:7:0:4f::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";
        assert_eq!(text.parse::<SubnetEnv>().unwrap().to_string(), text);
    }

    #[test]
    fn lists_other_lines_and_missing_newlines_are_read() {
        let env: SubnetEnv = "# comment\r\nOTHER\nFLANNEL_NETWORK=10.5.0.0/16,10.6.0.0/16\r\nFLANNEL_SUBNET=10.5.15.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=True".parse().unwrap();
        assert_eq!(env.networks.len(), 2);
        assert!(!env.ip_masq);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = "FLANNEL_NETWORK=10.5.0.0/16\n".parse::<SubnetEnv>().unwrap_err();
        assert_eq!(error.to_string(), "is missing FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ");
        assert!("".parse::<SubnetEnv>().is_err());
    }

    #[test]
    fn a_bad_value_is_an_error_with_its_line_never_a_panic() {
        for (line, part) in [
            ("FLANNEL_MTU", "line 1: FLANNEL_MTU: `` is not"),
            ("FLANNEL_SUBNET=x", "FLANNEL_SUBNET"),
            ("FLANNEL_NETWORK=10.5.0.0/16,", "FLANNEL_NETWORK"),
            ("FLANNEL_MTU=-1", "FLANNEL_MTU"),
        ] {
            let error = format!("{line}\n{V4}").parse::<SubnetEnv>().unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn the_file_appears_whole_with_its_directory_and_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run/flannel/subnet.env");
        v4().write(&path).unwrap();
        v4().write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), V4);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1);
        let error = v4().write(&path.join("below")).unwrap_err();
        assert!(error.to_string().contains("subnet.env/below"), "{error}");
    }
}
