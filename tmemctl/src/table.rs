// SPDX-License-Identifier: MIT OR Apache-2.0
//! Statistics as a person reads them.

use std::fmt::Write;

use comfy_table::CellAlignment::{self, Left, Right};
use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Table};

use crate::control::uuid_of;
use crate::statistics::{Client, Record, Statistics};

/// What all clients hold, and with `pools` what is in each of their pools.
pub fn list(statistics: &Statistics, freeable_mib: u32, pools: bool) -> String {
    let mut text = summary(statistics, freeable_mib);
    if statistics.clients.is_empty() {
        text.push_str("No domain uses tmem.\n");
        return text;
    }
    text.push('\n');
    let mut table = Columns::new(&[
        ("ID", Right),
        ("Name", Left),
        ("Weight", Right),
        ("State", Left),
        ("Ephemeral", Right),
        ("Persistent", Right),
        ("Memory", Right),
        ("Cap", Right),
        ("Puts", Right),
        ("Gets", Right),
        ("Hits", Right),
    ]);
    for client in &statistics.clients {
        table.row([
            client.domain.to_string(),
            client.name.clone().unwrap_or_default(),
            client.record.number("ww").to_string(),
            state(&client.record),
            mib(client.sum("Pc", |pool| !pool.is_persistent())),
            mib(client.sum("Pc", Record::is_persistent)),
            mib(client.record.number("fe") + client.record.number("fp")),
            match client.record.text("ca") {
                "" => "-".to_owned(),
                _ => mib(client.record.number("ca")),
            },
            client.sum("ps", |_| true).to_string(),
            client.sum("gt", |_| true).to_string(),
            client.sum("gs", |_| true).to_string(),
        ]);
    }
    text.push_str(&table.text());
    if pools {
        text.push('\n');
        text.push_str(&pool_table(statistics));
    }
    text
}

fn pool_table(statistics: &Statistics) -> String {
    let mut table = Columns::new(&[
        ("ID", Right),
        ("Pool", Right),
        ("Type", Left),
        ("Size", Right),
        ("Puts", Right),
        ("Refused", Right),
        ("Gets", Right),
        ("Hits", Right),
        ("Flushes", Right),
        ("Evicted", Right),
        ("Shared as", Left),
    ]);
    for client in &statistics.clients {
        for pool in &client.pools {
            table.row([
                client.domain.to_string(),
                pool.number("PI").to_string(),
                match (pool.is_persistent(), pool.is_shared()) {
                    (true, _) => "persistent",
                    (false, true) => "shared",
                    (false, false) => "ephemeral",
                }
                .to_owned(),
                mib(pool.number("Pc")),
                pool.number("ps").to_string(),
                pool.number("px").to_string(),
                pool.number("gt").to_string(),
                pool.number("gs").to_string(),
                (pool.number("ft") + pool.number("ot")).to_string(),
                pool.number("pe").to_string(),
                uuid(pool),
            ]);
        }
    }
    table.text()
}

/// What happened in the `seconds` between two lists.
pub fn top(before: &Statistics, now: &Statistics, freeable_mib: u32, seconds: f64) -> String {
    let mut text = summary(now, freeable_mib);
    let evicted = |statistics: &Statistics| global(statistics, "Et");
    let _ = writeln!(
        text,
        "Evicted {}/s in the last {seconds:.1} s\n",
        rate(evicted(now), evicted(before), seconds)
    );
    let mut table = Columns::new(&[
        ("ID", Right),
        ("Name", Left),
        ("Weight", Right),
        ("State", Left),
        ("Ephemeral", Right),
        ("Share", Right),
        ("Persistent", Right),
        ("Puts/s", Right),
        ("Gets/s", Right),
        ("Hit", Right),
        ("Flushes/s", Right),
    ]);
    let ephemeral = |client: &Client| client.sum("Pc", |pool| !pool.is_persistent());
    let all: u64 = now.clients.iter().map(ephemeral).sum();
    let mut clients: Vec<_> = now
        .clients
        .iter()
        .map(|client| {
            // A domain that came in between began at nothing.
            let then = before.client(client.domain);
            let since = |key: &str| {
                let sum = |client: &Client| client.sum(key, |_| true);
                sum(client).saturating_sub(then.map_or(0, sum))
            };
            (
                since("pt") + since("gt"),
                client,
                since("pt"),
                since("gt"),
                since("gs"),
                since("ft") + since("ot"),
            )
        })
        .collect();
    // The busiest first.
    clients.sort_by_key(|(busy, client, ..)| (std::cmp::Reverse(*busy), client.domain));
    for (_, client, puts, gets, hits, flushes) in clients {
        table.row([
            client.domain.to_string(),
            client.name.clone().unwrap_or_default(),
            client.record.number("ww").to_string(),
            state(&client.record),
            mib(ephemeral(client)),
            percent(ephemeral(client), all),
            mib(client.sum("Pc", Record::is_persistent)),
            rate(puts, 0, seconds),
            rate(gets, 0, seconds),
            percent(hits, gets),
            rate(flushes, 0, seconds),
        ]);
    }
    text.push_str(&table.text());
    text
}

fn summary(statistics: &Statistics, freeable_mib: u32) -> String {
    let pages: u64 = statistics
        .clients
        .iter()
        .map(|client| client.sum("Pc", |_| true))
        .sum();
    let frames = global(statistics, "Fc");
    format!(
        "tmem holds {pages} pages ({}) in {frames} frames ({}), which saves {}; {freeable_mib} MiB can be given back; \
         {} pages evicted, {} of {} operations failed\n",
        mib(pages),
        mib(frames),
        mib(pages.saturating_sub(frames)),
        global(statistics, "Et"),
        global(statistics, "Te"),
        global(statistics, "Tt"),
    )
}

fn global(statistics: &Statistics, key: &str) -> u64 {
    statistics
        .global
        .as_ref()
        .map_or(0, |record| record.number(key))
}

fn state(client: &Record) -> String {
    let mut words = Vec::new();
    if client.number("sv") != 0 {
        words.push("being saved");
    } else if client.number("fr") != 0 {
        words.push("frozen");
    }
    if client.number("co") == 0 {
        words.push("uncompressed");
    }
    if words.is_empty() {
        words.push("runs");
    }
    words.join(", ")
}

fn uuid(pool: &Record) -> String {
    let word = |key| u64::from_str_radix(pool.text(key), 16).unwrap_or(0);
    if pool.is_shared() {
        uuid_of([word("U0"), word("U1")]).to_string()
    } else {
        String::new()
    }
}

/// Pages as MiB with one digit.
fn mib(pages: u64) -> String {
    let tenths = (pages * 10 + 128) / 256;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn percent(part: u64, whole: u64) -> String {
    match (part * 100 + whole / 2).checked_div(whole) {
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is shown without decimals")]
fn rate(now: u64, before: u64, seconds: f64) -> String {
    format!("{:.0}", now.saturating_sub(before) as f64 / seconds)
}

/// A table without lines.
struct Columns(Table);

impl Columns {
    fn new(columns: &[(&str, CellAlignment)]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(
            columns
                .iter()
                .map(|(name, alignment)| Cell::new(name).set_alignment(*alignment)),
        );
        for (column, (_, alignment)) in table.column_iter_mut().zip(columns) {
            column.set_cell_alignment(*alignment);
        }
        Self(table)
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.add_row(cells);
    }

    fn text(&self) -> String {
        self.0.trim_fmt() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::LIST;

    #[test]
    fn a_person_reads_who_holds_what() {
        let mut statistics = Statistics::read(LIST);
        statistics.clients[1].name = Some("web".into());
        let text = list(&statistics, 5, true);
        let row = text.lines().find(|line| line.contains("web")).unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words[..4], ["3", "web", "100", "runs"], "{text}");
        // 130 ephemeral pages, in 64 frames; 512 frames at most.
        assert!(
            row.contains("0.5 MiB") && row.contains("0.3 MiB") && row.contains("2.0 MiB"),
            "{text}"
        );
        assert!(text.contains("frozen, uncompressed") && text.contains("5 MiB can be given back"));
        assert!(text.lines().any(|line| line.contains("persistent")));
    }

    #[test]
    fn top_shows_what_happened_in_between() {
        let before = Statistics::read(LIST);
        let now = Statistics::read(&LIST.replace("pt:171", "pt:371").replace("Et:40", "Et:60"));
        let text = top(&before, &now, 0, 2.0);
        let row = text.lines().find(|line| line.contains(" 100 ")).unwrap();
        assert!(row.contains("  100  "), "{text}");
        assert!(text.contains("Evicted 10/s"), "{text}");
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let text = list(&Statistics::default(), 0, false);
        assert!(text.contains("No domain uses tmem"));
        assert_eq!(percent(1, 0), "-");
    }
}
