// SPDX-License-Identifier: MIT OR Apache-2.0
//! A serial line with two writers.
//!
//! Xen writes whole lines, but it may do so when dom0 is halfway through a line:
//!
//! ```text
//! on the wire                                              as lines
//! free_kib : 6378(XEN) uart interrupt taking more …   ──►  (XEN) uart interrupt taking more …
//! 12                                                  ──►  free_kib : 637812
//! ```

/// The prefix of Xen's lines.
const XEN: &str = "(XEN) ";

/// Takes the lines on the wire, and returns each writer's lines.
#[derive(Default)]
pub struct Console {
    /// What dom0 had written of its line when Xen began one.
    begun: String,
}

impl Console {
    /// The line that this line on the wire completes.
    pub fn line(&mut self, wire: &str) -> String {
        let wire = wire.trim_end_matches('\r');
        match wire.find(XEN) {
            Some(0) => wire.to_owned(),
            Some(at) => {
                self.begun.push_str(&wire[..at]);
                wire[at..].to_owned()
            }
            None => std::mem::take(&mut self.begun) + wire,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What these lines on the wire are turned into.
    fn lines(wire: &[&str]) -> Vec<String> {
        let mut console = Console::default();
        wire.iter().map(|line| console.line(line)).collect()
    }

    #[test]
    fn whole_lines_stay_as_they_are() {
        let wire = ["(XEN) Brought up 2 CPUs", "ok a case", "", "(XEN) (XEN)"];
        assert_eq!(lines(&wire), wire);
    }

    #[test]
    fn a_line_that_xen_cuts_is_put_together() {
        assert_eq!(
            lines(&["free_kib : 6378(XEN) uart interrupt\r", "12\r", "ok\r"]),
            ["(XEN) uart interrupt", "free_kib : 637812", "ok"]
        );
        // Cut at its end, and by two lines from Xen.
        assert_eq!(
            lines(&["free_kib : 637812(XEN) one", "(XEN) two", ""]),
            ["(XEN) one", "(XEN) two", "free_kib : 637812"]
        );
        assert_eq!(
            lines(&["free(XEN) one", "_kib(XEN) two", " : 1"]),
            ["(XEN) one", "(XEN) two", "free_kib : 1"]
        );
    }
}
