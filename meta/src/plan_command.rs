//! `plexus plan`: what an ADD would do, without doing it. Called as a runtime calls the plugin: the same environment,
//! the same configuration on stdin.

use crate::chain::{self, Link};
use crate::invocation::Invocation;
use crate::journal::Entry;
use crate::node::Node;
use crate::select;
use cni::{Command, Error, Request};
use delegates::Plan;
use net::apply::Recorder;
use net::op::{Place, Step};
use std::io::Read;
use std::process::ExitCode;

/// Prints the plan of the ADD that environment and stdin describe.
pub fn run(name: &str) -> ExitCode {
    match plan(name) {
        Ok((plan, stopped)) => {
            for (number, step) in plan.records.iter().chain(&plan.steps).enumerate() {
                print(number + 1, step);
            }
            match stopped {
                None => ExitCode::SUCCESS,
                Some(error) => {
                    eprintln!("plexus plan: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            eprintln!("plexus plan: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As much of the plan as can be made without executing anything, and why it ends there.
fn plan(name: &str) -> Result<(Plan, Option<Error>), Error> {
    let request = Request::from_lookup(|variable| std::env::var_os(variable))?;
    let request = request.ok_or_else(|| Error::environment("CNI_COMMAND is missing"))?;
    if request.command != Command::Add {
        return Err(Error::environment(format!(
            "only an ADD is planned, not {}: other verbs work from the journal",
            request.command.name()
        )));
    }
    let mut stdin = Vec::new();
    std::io::stdin()
        .read_to_end(&mut stdin)
        .map_err(|error| Error::io("cannot read the configuration from stdin", &error))?;
    let invocation = Invocation::read(name, &stdin)?;
    let selection = select::select(&request, &invocation)?;
    let links = selection
        .attachments
        .iter()
        .map(|attachment| Link::new(attachment, &request))
        .collect::<Result<Vec<_>, _>>()?;
    let entry = Entry::new(invocation.key(&request), request.netns.clone(), None);
    let mut recorder = Recorder::default();
    let mut node = Node::new(&invocation.config, &request, &mut recorder, None, entry);
    let mut plan = Plan::new();
    let stopped = chain::add(&links, &request, &mut node, &mut plan).err();
    Ok((plan, stopped))
}

fn print(number: usize, step: &Step) {
    let place = match step.place {
        Place::Host => "node",
        Place::Pod => "pod ",
    };
    println!("{number:>3}  {place}  {:<64}  # {}", step.op.to_string(), step.why);
    if let Some(undo) = &step.undo {
        println!("            undo: {undo}");
    }
}
