// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl top` as plain text: what is happening, and how fast. On a terminal it is [`crate::dashboard`].

use std::cmp::Reverse;

use comfy_table::CellAlignment::{Left, Right};

use crate::list::{state, summary};
use crate::statistics::{Client, Pool, Statistics};
use crate::table::{Columns, mib, percent};

/// What happened between two looks at the store.
pub struct Interval<'a> {
    pub before: &'a Statistics,
    pub now: &'a Statistics,
    pub seconds: f64,
}

/// What a client did in an interval.
pub struct Activity<'a> {
    pub client: &'a Client,
    pub puts: u64,
    pub gets: u64,
    pub hits: u64,
    pub flushes: u64,
    /// Pages of its own that were evicted.
    pub evicted: u64,
}

impl Interval<'_> {
    /// What each client did, busiest first.
    pub fn activities(&self) -> Vec<Activity<'_>> {
        let mut activities: Vec<_> = (self.now.clients.iter())
            .map(|client| self.activity(client))
            .collect();
        activities.sort_by_key(|one| (Reverse(one.puts + one.gets), one.client.domain));
        activities
    }

    fn activity<'a>(&self, client: &'a Client) -> Activity<'a> {
        // A domain that is new in this interval started from zero.
        let then = self.before.client(client.domain);
        let since = |figure: fn(&Pool) -> u64| {
            let before = then.map_or(0, |then| then.sum(figure));
            client.sum(figure).saturating_sub(before)
        };
        Activity {
            client,
            puts: since(|pool| pool.puts),
            gets: since(|pool| pool.gets),
            hits: since(|pool| pool.hits),
            flushes: since(Pool::flushes),
            evicted: since(|pool| pool.evicted_pages),
        }
    }

    /// Pages evicted from all clients.
    pub fn evicted(&self) -> u64 {
        let evicted = |statistics: &Statistics| statistics.store.evicted_pages;
        evicted(self.now).saturating_sub(evicted(self.before))
    }

    /// The number of events per second.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "counts are rounded anyway, and time does not run backwards"
    )]
    pub fn per_second(&self, events: u64) -> u64 {
        (events as f64 / self.seconds).round() as u64
    }

    /// The interval as a table.
    pub fn text(&self) -> String {
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
        let all: u64 = (self.now.clients.iter())
            .map(|client| client.ephemeral_pages)
            .sum();
        for one in self.activities() {
            let client = one.client;
            table.row([
                client.domain.to_string(),
                client.name.clone().unwrap_or_default(),
                client.weight.to_string(),
                state(client),
                mib(client.ephemeral_pages),
                percent(client.ephemeral_pages, all),
                mib(client.persistent_pages()),
                self.per_second(one.puts).to_string(),
                self.per_second(one.gets).to_string(),
                percent(one.hits, one.gets),
                self.per_second(one.flushes).to_string(),
            ]);
        }
        format!(
            "{}{} pages/s evicted in the last {:.1} s\n\n{}",
            summary(self.now),
            self.per_second(self.evicted()),
            self.seconds,
            table.text()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::{LIST, statistics};

    #[test]
    fn top_shows_what_happened_in_between() {
        let now = LIST.replace("pt:171", "pt:371").replace("Et:40", "Et:60");
        let text = Interval {
            before: &statistics(),
            now: &Statistics::read(&now).unwrap(),
            seconds: 2.0,
        }
        .text();
        let row = text.lines().find(|line| line.contains(" 100 ")).unwrap();
        assert!(row.contains("  100  "), "{text}");
        assert!(text.contains("10 pages/s evicted"), "{text}");
    }

    #[test]
    fn a_new_domain_began_at_nothing() {
        let statistics = statistics();
        let interval = Interval {
            before: &Statistics::default(),
            now: &statistics,
            seconds: 1.0,
        };
        let activities = interval.activities();
        assert_eq!(activities[0].client.domain, 3);
        assert_eq!((activities[0].puts, activities[0].gets), (201, 70));
        assert_eq!(activities[1].puts, 0);
    }
}
