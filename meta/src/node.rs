//! The node as planning sees it, and the pen that writes the plan down before it is carried out: the kernel and the
//! files behind [`delegates::World`], the journal entry under construction, and the one place where plans are applied.

use crate::config::Config;
use crate::journal::{Attached, Entry, Journal};
use cni::error::code;
use cni::exec::{Exit, Output};
use cni::{CniResult, Command, Error, Request, Version};
use delegates::{Call, Plan, World};
use ipnet::IpNet;
use net::apply::{Applied, ExecOutput, Executor, Failed, FailureKind};
use net::lock::{FlockGuard, flock};
use net::netlink::{Protocol, Socket};
use net::ns::Namespace;
use net::op::{Op, Step};
use net::snapshot::{self, Family, LinkFacts};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `RT_SCOPE_UNIVERSE` of include/uapi/linux/rtnetlink.h.
const GLOBAL: u8 = 0;

/// Planning and applying for one request.
pub struct Node<'a> {
    request: &'a Request,
    executed: &'a [String],
    plugin_dirs: Vec<PathBuf>,
    delegate_timeout: Duration,
    lock_timeout: Duration,
    executor: &'a mut dyn Executor,
    journal: Option<&'a Journal>,
    /// What has been written down so far.
    pub entry: Entry,
    /// Failures of operations that may fail.
    pub warnings: Vec<String>,
    route: Option<Socket>,
    sysctls: HashMap<String, Option<String>>,
    stores: BTreeSet<PathBuf>,
    locks: Vec<(PathBuf, FlockGuard)>,
}

impl<'a> Node<'a> {
    /// A node on which plans are journaled and applied; without a journal they are only planned.
    pub fn new(
        config: &'a Config,
        request: &'a Request,
        executor: &'a mut dyn Executor,
        journal: Option<&'a Journal>,
        entry: Entry,
    ) -> Self {
        let plugin_dirs = std::iter::once(config.bin_dir.clone()).chain(request.path.iter().cloned()).collect();
        Self {
            request,
            executed: &config.executed_delegates,
            plugin_dirs,
            delegate_timeout: Duration::from_secs(config.delegate_timeout),
            lock_timeout: Duration::from_secs(config.lock_timeout),
            executor,
            journal,
            entry,
            warnings: Vec::new(),
            route: None,
            sysctls: HashMap::new(),
            stores: BTreeSet::new(),
            locks: Vec::new(),
        }
    }

    /// Tells which address stores the plans to come will lock.
    pub fn address_stores(&mut self, stores: Vec<PathBuf>) {
        self.stores.extend(stores);
    }

    /// Notes the attachments that are about to be made.
    pub fn announce(&mut self, attachments: Vec<Attached>) {
        self.entry.attachments = attachments;
    }

    /// Notes an attachment's result, for the DEL of its plugins.
    ///
    /// # Errors
    /// A result that has no JSON form.
    pub fn attached(&mut self, position: usize, result: &CniResult, _plan: &Plan) -> Result<(), Error> {
        let value = result.to_json(Version::CURRENT)?;
        if let Some(attachment) = self.entry.attachments.get_mut(position) {
            attachment.result = Some(value);
        }
        Ok(())
    }

    /// Writes everything planned so far into the journal, then carries it out: files first, then, with the address
    /// stores unlocked again, the rest. What is planned afterwards starts anew.
    ///
    /// # Errors
    /// A journal that cannot be written, or the operation that failed. Then nothing of this plan is left, except what
    /// the error says could not be undone.
    pub fn carry_out(&mut self, plan: &mut Plan) -> Result<Applied, Error> {
        let (records, steps) = plan.take();
        self.entry.steps.extend(records.iter().chain(&steps).cloned());
        let Some(journal) = self.journal else {
            return Err(Error::internal("a plan without a journal is never carried out"));
        };
        journal.write(&self.entry).map_err(journal_error)?;
        let result = self.apply(&records).and_then(|_| {
            self.locks.clear();
            self.apply(&steps)
        });
        self.locks.clear();
        result
    }

    fn apply(&mut self, steps: &[Step]) -> Result<Applied, Error> {
        if steps.is_empty() {
            return Ok(Applied::default());
        }
        let mut applied = self.executor.apply(steps).map_err(|failed| failure(&failed))?;
        self.warnings.append(&mut applied.warnings);
        Ok(applied)
    }

    /// Takes back everything the entry knows of, last first, and drops the entry when nothing is left of it.
    ///
    /// # Errors
    /// What could not be taken back; the entry stays for the next DEL.
    pub fn undo(&mut self) -> Result<(), Error> {
        let Some(journal) = self.journal else { return Ok(()) };
        crate::undo::undo(&self.entry, self.executor, journal)
    }

    fn route(&mut self) -> Result<&mut Socket, Error> {
        if self.route.is_none() {
            let socket = Socket::open(Protocol::Route).map_err(|error| Error::internal(error.to_string()))?;
            self.route = Some(socket);
        }
        self.route.as_mut().ok_or_else(|| Error::internal("no netlink socket"))
    }

    /// The index of an interface that an executed plugin has made in the pod.
    ///
    /// # Errors
    /// When the pod has no such interface.
    pub fn pod_link(&self, name: &str) -> Result<u32, Error> {
        let path = self.request.netns.as_deref().ok_or_else(|| Error::environment("CNI_NETNS is missing"))?;
        let sandbox = Namespace::open(path).map_err(|error| Error::netns(error.to_string()))?;
        let link =
            Socket::open_in(Protocol::Route, &sandbox).and_then(|mut socket| snapshot::link_by_name(&mut socket, name));
        let link = link.map_err(|error| Error::internal(error.to_string()))?;
        link.map(|link| link.index)
            .ok_or_else(|| Error::internal(format!("the pod has no interface {name} although a plugin said so")))
    }

    fn program(&self, kind: &str) -> Result<PathBuf, Error> {
        cni::exec::find_plugin(kind, &self.plugin_dirs)
    }

    /// The environment of a plugin: ours, since plugins look for their tools on PATH, and the contract's variables.
    fn environment(&self, call: &Call<'_>, command: Command) -> Vec<(String, String)> {
        let call = cni::exec::Call {
            command,
            container_id: call.container,
            netns: call.netns,
            ifname: call.ifname,
            args: call.args,
            path: &self.plugin_dirs,
            netns_override: self.request.netns_override,
        };
        let inherited =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        call.environment(inherited)
    }

    /// The operation that executes a plugin: its environment and stdin.
    fn exec_op(&self, call: &Call<'_>, kind: &str, command: Command) -> Result<Op, Error> {
        let program = self.program(kind)?;
        let mut conf = call.conf.clone();
        if let Some(previous) = call.previous {
            conf = conf.with_prev_result(previous)?;
        }
        Ok(Op::Exec {
            program: program.to_string_lossy().into_owned(),
            environment: self.environment(call, command),
            stdin: conf.to_text(),
            deadline_ms: u64::try_from(self.delegate_timeout.as_millis()).unwrap_or(u64::MAX),
            what: format!("{} {kind} for {}", command.name(), call.ifname),
        })
    }
}

impl World for Node<'_> {
    fn link(&mut self, name: &str) -> Result<Option<LinkFacts>, Error> {
        snapshot::link_by_name(self.route()?, name).map_err(|error| Error::internal(format!("link {name}: {error}")))
    }

    fn addresses(&mut self, index: u32) -> Result<Vec<IpNet>, Error> {
        let addresses = snapshot::addresses(self.route()?, index, Family::Any)
            .map_err(|error| Error::internal(format!("addresses of link {index}: {error}")))?;
        Ok(addresses.into_iter().filter(|facts| facts.scope == GLOBAL).map(|facts| facts.address).collect())
    }

    fn sysctl(&mut self, key: &str) -> Option<String> {
        self.sysctls.entry(key.to_owned()).or_insert_with(|| net::sysctl::read(key).ok()).clone()
    }

    fn read(&mut self, path: &Path) -> Result<Option<String>, Error> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("cannot read {}", path.display()), &error)),
        }
    }

    fn exists(&mut self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn list(&mut self, directory: &Path) -> Result<Vec<String>, Error> {
        let failed = |error| Error::io(format!("cannot list {}", directory.display()), &error);
        match std::fs::read_dir(directory) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(failed))
                .collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(failed(error)),
        }
    }

    fn lock(&mut self, directory: &Path) -> Result<(), Error> {
        if self.journal.is_none() || self.locks.iter().any(|(locked, _)| locked == directory) {
            return Ok(());
        }
        self.stores.insert(directory.to_owned());
        // all of them, in the set's order, whichever is asked for first
        self.locks.clear();
        for store in &self.stores {
            // the reference plugin's lock file, with its mode
            let lock = flock(&store.join("lock"), 0o750, Instant::now() + self.lock_timeout);
            let lock =
                lock.map_err(|error| Error::new(code::IO, format!("address store {}: {error}", store.display())))?;
            self.locks.push((store.clone(), lock));
        }
        Ok(())
    }

    fn random(&mut self) -> u64 {
        // each RandomState is keyed anew from the kernel's random numbers and a counter
        RandomState::new().hash_one(0_u8)
    }

    fn executes(&self, kind: &str) -> bool {
        self.executed.iter().any(|executed| executed == kind)
    }

    fn execute(&mut self, call: &Call<'_>, kind: &str, plan: &mut Plan) -> Result<CniResult, Error> {
        if self.journal.is_none() {
            return Err(Error::new(
                code::TRY_AGAIN_LATER,
                format!("the plan ends here: what follows depends on what {kind:?} answers when it is executed"),
            ));
        }
        let add = self.exec_op(call, kind, Command::Add)?;
        let del = self.exec_op(call, kind, Command::Del)?;
        plan.host(add, Some(del), format!("network {:?} is made by a plugin that is not bundled", call.network()));
        let applied = self.carry_out(plan)?;
        let output = applied.outputs.last().ok_or_else(|| Error::internal(format!("{kind}: no output")))?;
        cni::exec::interpret(kind, Command::Add, printed(output), call.conf.cni_version())
    }

    fn execute_del(&mut self, call: &Call<'_>, kind: &str, plan: &mut Plan) -> Result<(), Error> {
        let op = self.exec_op(call, kind, Command::Del)?;
        plan.host(op, None, format!("network {:?} was made by a plugin that is not bundled", call.network()));
        Ok(())
    }

    fn execute_status(&mut self, call: &Call<'_>, kind: &str) -> Result<(), Error> {
        let op = self.exec_op(call, kind, Command::Status)?;
        if call.conf.cni_version() < Version::V1_1_0 {
            return Ok(()); // found, and too old to be asked
        }
        let step = Step { place: net::op::Place::Host, op, undo: None, why: "STATUS of the chain".into() };
        self.apply(&[step]).map(|_| ())
    }
}

/// A failed operation as the runtime sees it: the plugin's own error where one was executed.
pub fn failure(failed: &Failed) -> Error {
    let code = match failed.kind {
        FailureKind::IndexTaken => code::TRY_AGAIN_LATER,
        FailureKind::NamespaceGone => code::INVALID_NETNS,
        _ => code::INTERNAL,
    };
    match &failed.exec {
        Some(output) if !output.timed_out => {
            match cni::exec::interpret(&failed.why, Command::Add, printed(output), Version::CURRENT) {
                Err(error) => error,
                Ok(_) => Error::new(code, failed.to_string()),
            }
        }
        _ => Error::new(code, failed.to_string()),
    }
}

/// What an executed plugin left behind, for the reader of its answer.
fn printed(output: &ExecOutput) -> Output<'_> {
    let exit = match (output.status, output.signal) {
        (Some(status), _) => Exit::Status(status),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    };
    Output { exit, stdout: output.stdout.as_bytes(), stdout_truncated: false, stderr: output.stderr.as_bytes() }
}

/// A journal that cannot be used, as the runtime sees it.
pub fn journal_error(error: crate::journal::JournalError) -> Error {
    Error::new(code::IO, error.to_string())
}
