// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl list`: who holds what.

use comfy_table::CellAlignment::{self, Left, Right};

use crate::statistics::{Client, Pool, Statistics};
use crate::table::{Columns, mib};

/// All clients; with `pools`, each of their pools as well.
pub fn text(statistics: &Statistics, pools: bool) -> String {
    let mut text = summary(statistics);
    if statistics.clients.is_empty() {
        text.push_str("No domain uses tmem.\n");
        return text;
    }
    text.push('\n');
    text.push_str(&clients(statistics).text());
    if pools {
        text.push('\n');
        text.push_str(&all_pools(statistics).text());
    }
    text
}

/// The whole store in a sentence.
pub fn summary(statistics: &Statistics) -> String {
    let store = &statistics.store;
    format!(
        "tmem holds {pages} pages ({}) in {frames} frames ({}), saving {}; {} MiB can be given back; \
         {} pages evicted, {} puts failed in {} operations\n",
        mib(store.pages),
        mib(store.frames),
        mib(store.pages.saturating_sub(store.frames)),
        statistics.freeable_mib,
        store.evicted_pages,
        store.failed_puts,
        store.operations,
        pages = store.pages,
        frames = store.frames,
    )
}

/// The state of a client, in words.
pub fn state(client: &Client) -> String {
    let mut words = Vec::new();
    if client.being_saved {
        words.push("being saved");
    } else if client.frozen {
        words.push("frozen");
    }
    if !client.compress {
        words.push("uncompressed");
    }
    if words.is_empty() {
        words.push("active");
    }
    words.join(", ")
}

fn clients(statistics: &Statistics) -> Columns {
    let mut table = Columns::new(&[
        ("ID", Right),
        ("Name", Left),
        ("Weight", Right),
        ("State", Left),
        ("Ephemeral", Right),
        ("Persistent", Right),
        ("Memory", Right),
        ("Cap", Right),
        ("Quota", Right),
        ("Puts", Right),
        ("Gets", Right),
        ("Hits", Right),
    ]);
    for client in &statistics.clients {
        table.row([
            client.domain.to_string(),
            client.name.clone().unwrap_or_default(),
            client.weight.to_string(),
            state(client),
            mib(client.ephemeral_pages),
            mib(client.persistent_pages()),
            mib(client.frames()),
            client.cap_frames.map_or_else(|| "-".to_owned(), mib),
            match client.quota_frames {
                None | Some(0) => "-".to_owned(),
                Some(quota) => mib(quota),
            },
            client.sum(|pool| pool.puts_stored).to_string(),
            client.sum(|pool| pool.gets).to_string(),
            client.sum(|pool| pool.hits).to_string(),
        ]);
    }
    table
}

/// The columns of a table of pools.
pub const POOL: [(&str, CellAlignment); 9] = [
    ("Pool", Right),
    ("Type", Left),
    ("Size", Right),
    ("Puts", Right),
    ("Refused", Right),
    ("Gets", Right),
    ("Hits", Right),
    ("Flushes", Right),
    ("Evicted", Right),
];

/// A pool's cells in these columns.
pub fn pool(pool: &Pool) -> [String; POOL.len()] {
    [
        pool.id.map(|id| id.to_string()).unwrap_or_default(),
        pool.kind.name().to_owned(),
        mib(pool.pages),
        pool.puts_stored.to_string(),
        pool.puts_refused.to_string(),
        pool.gets.to_string(),
        pool.hits.to_string(),
        pool.flushes().to_string(),
        pool.evicted_pages.to_string(),
    ]
}

fn all_pools(statistics: &Statistics) -> Columns {
    let mut columns = vec![("ID", Right)];
    columns.extend(POOL);
    columns.push(("Shared as", Left));
    let mut table = Columns::new(&columns);
    for client in &statistics.clients {
        for one in &client.pools {
            let mut row = vec![client.domain.to_string()];
            row.extend(pool(one));
            row.push(one.uuid.map(|uuid| uuid.to_string()).unwrap_or_default());
            table.row(row);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::statistics;

    #[test]
    fn a_person_reads_who_holds_what() {
        let mut statistics = statistics();
        statistics.freeable_mib = 5;
        statistics.clients[1].name = Some("web".into());
        statistics.clients[1].quota_frames = Some(768);
        let text = text(&statistics, true);
        let row = text.lines().find(|line| line.contains("web")).unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words[..4], ["3", "web", "100", "active"], "{text}");
        // 130 ephemeral pages; 71 frames; a cap of 512 frames; a quota of 768 frames.
        for figure in ["0.5 MiB", "0.3 MiB", "2.0 MiB", "3.0 MiB"] {
            assert!(row.contains(figure), "{text}");
        }
        assert!(text.contains("frozen, uncompressed") && text.contains("5 MiB can be given back"));
        assert!(text.contains("142 pages (0.6 MiB) in 80 frames (0.3 MiB), saving 0.2 MiB"));
        assert!(text.lines().any(|line| line.contains("persistent")));
    }

    #[test]
    fn a_store_without_clients_says_so() {
        assert!(text(&Statistics::default(), false).contains("No domain uses tmem"));
    }
}
