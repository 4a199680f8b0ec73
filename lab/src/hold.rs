//! `plexus lab hold`: a process that does nothing but keep a node's namespaces alive.
//!
//! Namespaces live as long as somebody is in them. The holder leaves when its standard input ends, which happens when the lab lets go
//! of it and also when the lab's process is killed, and everything it held goes with it: links, mounts, files. (A parent-death signal
//! would do the same but is sent when the *thread* that made the child ends, which need not be the lab's end.)

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The product's default paths, which every node has to itself.
const PRIVATE: [&str; 3] = ["/var/lib/cni", "/var/lib/plexus", "/etc/cni"];
/// Where a directory is kept in sight after a node's own has been laid over it.
const BENEATH: &str = "/run/plexus-lab";
/// What the holder says when the namespaces are ready.
pub(crate) const READY: &str = "ready\n";

/// Makes a network and a mount namespace, says so, and stays until standard input ends.
///
/// # Errors
/// When the kernel refuses a namespace or a mount.
pub fn hold() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("make a network and a mount namespace")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("make mounts private")?;
    // /sys/class/net shows the namespace of whoever mounted it. Only tools that look there notice when this is not allowed.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>);
    tmpfs(Path::new("/run"))?;
    std::fs::create_dir_all("/run/netns").context("make /run/netns")?;
    for path in PRIVATE {
        private_directory(Path::new(path))?;
    }
    let mut stdout = std::io::stdout();
    stdout
        .write_all(READY.as_bytes())
        .and_then(|()| stdout.flush())
        .context("tell the lab that the namespaces are ready")?;
    std::io::stdin().read_to_end(&mut Vec::new()).context("wait for the lab")?;
    Ok(())
}

fn tmpfs(path: &Path) -> Result<()> {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .with_context(|| format!("mount a tmpfs on {}", path.display()))
}

/// An empty directory of this mount namespace at `path`, without a trace in the machine's own file system.
fn private_directory(path: &Path) -> Result<()> {
    cover(path.parent().with_context(|| format!("{} has no parent", path.display()))?)?;
    if path.is_symlink() {
        std::fs::remove_file(path).with_context(|| format!("hide the machine's {}", path.display()))?;
    }
    std::fs::create_dir(path).with_context(|| format!("make {}", path.display()))
}

/// Lays a writable directory over `directory` that shows the same entries, as links to where the original stays in sight.
fn cover(directory: &Path) -> Result<()> {
    let aside = Path::new(BENEATH).join(directory.to_string_lossy().trim_start_matches('/').replace('/', "-"));
    if aside.exists() {
        return Ok(()); // for another directory beside this one
    }
    std::fs::create_dir_all(&aside).with_context(|| format!("make {}", aside.display()))?;
    mount(Some(directory), &aside, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("bind {} to {}", directory.display(), aside.display()))?;
    tmpfs(directory)?;
    for entry in std::fs::read_dir(&aside).with_context(|| format!("list {}", aside.display()))? {
        let name = entry.with_context(|| format!("list {}", aside.display()))?.file_name();
        std::os::unix::fs::symlink(aside.join(&name), directory.join(&name))
            .with_context(|| format!("link {}", directory.join(&name).display()))?;
    }
    Ok(())
}
