// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases of scripts that run in a Debian: lines that begin with `ok` or `FAIL`.

/// The functions that say them, and what else scripts take.
const SHELL: &str = concat!(include_str!("../cases.sh"), include_str!("cases.sh"));

/// What a script says last.
const END: &str = "end of cases";

/// A script of cases, with what it takes.
pub fn script(cases: &str) -> String {
    format!("{SHELL}\n{cases}\necho {END}\n")
}

/// What a script said: how many of its cases passed, and what failed.
pub fn read(said: &str) -> (u64, Vec<String>) {
    let passed = said.lines().filter(|line| line.starts_with("ok   "));
    let failed = said.lines().filter(|line| line.starts_with("FAIL "));
    let mut failed: Vec<_> = failed.map(str::to_owned).collect();
    if !said.lines().any(|line| line == END) {
        failed.push("it did not get to its end".to_owned());
    }
    (passed.count() as u64, failed)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn cases_are_counted_and_failures_named() {
        let said = "ok   a: b\nguest| ok   c: d\nFAIL e: f\r\n  ok\nend of cases\n";
        assert_eq!(read(said), (1, vec!["FAIL e: f".to_owned()]));
    }

    #[test]
    fn a_script_that_stops_early_has_failed() {
        assert_eq!(read("ok   a: b\n").1.len(), 1);
    }
}
