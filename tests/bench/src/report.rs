// SPDX-License-Identifier: MIT OR Apache-2.0
//! Figures, their budgets, and whether they are met.

use std::fmt::{self, Display, Formatter, Write};

/// The budget for a figure.
#[derive(Clone, Copy, Debug)]
pub enum Budget {
    AtMost(f64),
    AtLeast(f64),
    /// None: the figure is for comparison only.
    None,
}

impl Budget {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::None => true,
        }
    }
}

/// One figure.
pub struct Finding {
    pub what: String,
    pub value: f64,
    /// How to write the value: its unit, and how many decimals.
    pub unit: &'static str,
    pub decimals: usize,
    pub budget: Budget,
    pub note: String,
}

impl Finding {
    /// A ratio, to two decimals.
    pub fn ratio(
        what: impl Into<String>,
        value: f64,
        budget: Budget,
        note: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            value,
            unit: "x",
            decimals: 2,
            budget,
            note: note.into(),
        }
    }

    /// A count.
    pub fn count(
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        budget: Budget,
        note: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            decimals: usize::from(value.fract() != 0.0),
            budget,
            note: note.into(),
        }
    }

    fn verdict(&self) -> &'static str {
        if matches!(self.budget, Budget::None) {
            "-"
        } else if self.budget.holds(self.value) {
            "holds"
        } else {
            "MISSED"
        }
    }

    fn number(&self, value: f64) -> String {
        format!("{value:.*} {}", self.decimals, self.unit)
    }

    fn limit(&self) -> String {
        match self.budget {
            Budget::AtMost(most) => format!("<= {}", self.number(most)),
            Budget::AtLeast(least) => format!(">= {}", self.number(least)),
            Budget::None => "-".to_owned(),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "  {:58} {:>14} {:>16}  {:6}  {}",
            self.what,
            self.number(self.value),
            self.limit(),
            self.verdict(),
            self.note
        )
    }
}

/// All figures, by section.
#[derive(Default)]
pub struct Report {
    sections: Vec<(String, Vec<Finding>)>,
}

impl Report {
    /// Begins a section.
    pub fn section(&mut self, title: impl Into<String>) {
        let title = title.into();
        println!("\n{title}");
        self.sections.push((title, Vec::new()));
    }

    /// Adds a figure to the section, and prints it.
    pub fn add(&mut self, finding: Finding) {
        println!("{finding}");
        if let Some((_, findings)) = self.sections.last_mut() {
            findings.push(finding);
        }
    }

    /// How many figures there are, and how many of them are within their budget.
    pub fn score(&self) -> (usize, usize) {
        let findings = self.sections.iter().flat_map(|(_, findings)| findings);
        let budgeted = findings.filter(|finding| !matches!(finding.budget, Budget::None));
        budgeted.fold((0, 0), |(all, held), finding| {
            let holds = finding.budget.holds(finding.value);
            (all + 1, held + usize::from(holds))
        })
    }

    /// As a table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (title, findings) in &self.sections {
            let _ = write!(
                text,
                "\n### {title}\n\n| what | measured | budget | verdict | note |\n|---|--:|--:|---|---|\n"
            );
            for finding in findings {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} |",
                    finding.what,
                    finding.number(finding.value),
                    finding.limit().replace("<=", "≤").replace(">=", "≥"),
                    finding.verdict(),
                    finding.note
                );
            }
        }
        text
    }
}
