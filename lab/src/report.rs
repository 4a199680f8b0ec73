//! What a demonstration shows: sections, ticks and, at the end, whether anything differed. In colour on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

/// Prints as it goes and remembers what failed.
#[derive(Debug)]
pub struct Report {
    colour: bool,
    passed: usize,
    failures: Vec<String>,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

impl Report {
    /// To standard output; without colour when that is no terminal or `NO_COLOR` is set (no-color.org).
    #[must_use]
    pub fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: wanted && io::stdout().is_terminal(), passed: 0, failures: Vec::new() }
    }

    /// Begins a section.
    pub fn section(&self, title: &str) {
        self.line(&format!("\n{}", self.paint(BOLD, title)));
    }

    /// A remark.
    pub fn note(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!("  {}", self.paint(DIM, line)));
        }
    }

    /// What a command showed, under the command.
    pub fn output(&self, command: &str, text: &str) {
        self.line(&format!("  {} {}", self.paint(CYAN, "$"), self.paint(CYAN, command)));
        for line in text.lines() {
            self.line(&format!("    {line}"));
        }
    }

    /// A statement that holds if there are no `differences`, which are shown otherwise.
    pub fn check(&mut self, statement: &str, differences: &[String]) {
        if differences.is_empty() {
            self.passed += 1;
            self.line(&format!("  {} {statement}", self.paint(GREEN, "✓")));
            return;
        }
        self.line(&format!("  {} {statement}", self.paint(RED, "✗")));
        for difference in differences {
            self.line(&format!("      {}", self.paint(RED, difference)));
        }
        self.failures.push(statement.to_owned());
    }

    /// A statement that holds or does not.
    pub fn holds(&mut self, statement: &str, truth: bool) {
        let differences = if truth { Vec::new() } else { vec!["it does not".to_owned()] };
        self.check(statement, &differences);
    }

    /// Says how it went: true when nothing differed.
    #[must_use]
    pub fn finish(&self) -> bool {
        self.section("Summary");
        if self.failures.is_empty() {
            self.line(&format!("  {}", self.paint(GREEN, &format!("all {} checks hold", self.passed))));
            return true;
        }
        let total = self.passed + self.failures.len();
        self.line(&format!("  {}", self.paint(RED, &format!("{} of {total} checks failed:", self.failures.len()))));
        for failure in &self.failures {
            self.line(&format!("  {} {failure}", self.paint(RED, "✗")));
        }
        false
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&self, text: &str) {
        // a reader that has gone away (`| head`) is no reason to stop tidying up
        let _ = writeln!(io::stdout(), "{text}");
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}
