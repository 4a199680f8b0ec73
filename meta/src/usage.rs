//! What the program says about itself.

use std::process::ExitCode;

const COMMANDS: &[(&str, &str)] = &[
    ("agent --config FILE", "run this node's overlay networks"),
    ("flanneld [FLAGS]", "the same for one network, behind flanneld's flags and environment"),
    ("overlay init", "write an overlay network's configuration into its store, once"),
    ("list", "the attachments of this node"),
    ("show POD", "one pod's attachments, addresses and network-status"),
    ("plan", "with a runtime's environment and stdin: what an ADD would do, without doing it"),
    ("lab demo|try|…", "nodes as namespaces on this machine, to see and try all of it"),
    ("version", "the version, the CNI versions and the bundled plugins"),
];

/// The commands.
pub fn help() -> ExitCode {
    println!("plexus: several networks for a pod, and the networks along with it\n");
    println!("Called by a container runtime (CNI_COMMAND is set) it is a CNI plugin; otherwise:\n");
    for (command, what) in COMMANDS {
        println!("  plexus {command:<22} {what}");
    }
    println!("\nLinked or copied to one of these names it is that plugin: {}", bundled());
    ExitCode::SUCCESS
}

/// The version.
pub fn version() -> ExitCode {
    let versions: Vec<_> = cni::version::SUPPORTED.iter().map(ToString::to_string).collect();
    println!("plexus {}\nCNI {}\nbundled {}", env!("CARGO_PKG_VERSION"), versions.join(", "), bundled());
    ExitCode::SUCCESS
}

/// A command nobody knows.
pub fn unknown(command: &str, name: &str) -> ExitCode {
    if command.is_empty() {
        eprintln!("{name}: a CNI plugin (CNI {}); `plexus help` lists what else it can do", cni::Version::CURRENT);
        return ExitCode::SUCCESS;
    }
    eprintln!("plexus: no command {command:?}; `plexus help` lists them");
    ExitCode::from(2)
}

fn bundled() -> String {
    delegates::ALL.iter().map(|delegate| delegate.kind()).collect::<Vec<_>>().join(", ")
}
