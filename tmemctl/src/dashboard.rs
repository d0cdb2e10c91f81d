// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl top` on a terminal: what is happening, and how it changes.
//!
//! ```text
//! ┌ store ───────────────────────────────┐
//! │ memory ▁▂▃▄  gets ▁▃▂  hits ▇▇  ...  │   a curve for each figure, as long as the screen is wide
//! ├ domains ─────────────────────────────┤
//! │ ID  Name  Memory  Puts/s  Gets/s ... │   sorted by a key, one of them selected
//! ├ one domain ──────────────────────────┤
//! │ its curves, and a line for each pool │   shown or hidden by Enter
//! └──────────────────────────────────────┘
//! ```
//!
//! This file has the figures and what keys do to them; [`draw`] has the screen, and [`terminal`] the loop around both.

mod draw;
pub mod terminal;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::statistics::{Client, Statistics};
use crate::top::{Activity, Interval};

/// How many intervals are remembered: more than a screen is wide.
const REMEMBERED: usize = 600;

/// What happened in an interval, per second, and what there was at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moment {
    puts: u64,
    gets: u64,
    hits: u64,
    flushes: u64,
    evicted: u64,
    /// Memory, in frames.
    frames: u64,
}

impl Moment {
    fn of(one: &Activity, interval: &Interval) -> Self {
        Self {
            puts: interval.per_second(one.puts),
            gets: interval.per_second(one.gets),
            hits: interval.per_second(one.hits),
            flushes: interval.per_second(one.flushes),
            evicted: interval.per_second(one.evicted),
            frames: one.client.frames(),
        }
    }

    /// Hits in a hundred gets.
    fn hit_ratio(&self) -> u64 {
        (self.hits * 100).checked_div(self.gets).unwrap_or(0)
    }
}

/// The latest moments, newest last.
#[derive(Default)]
struct History(VecDeque<Moment>);

impl History {
    fn push(&mut self, moment: Moment) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(moment);
    }

    fn latest(&self) -> Moment {
        self.0.back().copied().unwrap_or_default()
    }

    /// The last `width` values of a figure.
    fn curve(&self, figure: fn(&Moment) -> u64, width: usize) -> Vec<u64> {
        let forgotten = self.0.len().saturating_sub(width);
        self.0.iter().skip(forgotten).map(figure).collect()
    }
}

/// What the domains are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Id,
    Memory,
    Puts,
    Gets,
    Hits,
    Evicted,
}

/// Everything that the screen shows.
pub struct Dashboard {
    latest: Statistics,
    store: History,
    domains: BTreeMap<u16, History>,
    sort: Sort,
    selected: Option<u16>,
    /// Whether the selected domain is shown in detail.
    detail: bool,
}

impl Dashboard {
    /// Starts from a first look, which gives no rates yet.
    pub fn new(first: Statistics) -> Self {
        let mut dashboard = Self {
            latest: first,
            store: History::default(),
            domains: BTreeMap::new(),
            sort: Sort::Gets,
            selected: None,
            detail: false,
        };
        dashboard.select_by(0);
        dashboard
    }

    /// Adds another look, that many seconds later.
    pub fn observe(&mut self, now: Statistics, seconds: f64) {
        let interval = Interval {
            before: &self.latest,
            now: &now,
            seconds,
        };
        let mut all = Moment {
            evicted: interval.per_second(interval.evicted()),
            frames: now.store.frames,
            ..Moment::default()
        };
        // A domain that is gone is forgotten, as its id may be given to another one.
        self.domains.retain(|id, _| now.client(*id).is_some());
        for one in interval.activities() {
            let moment = Moment::of(&one, &interval);
            all.puts += moment.puts;
            all.gets += moment.gets;
            all.hits += moment.hits;
            all.flushes += moment.flushes;
            let history = self.domains.entry(one.client.domain).or_default();
            history.push(moment);
        }
        self.store.push(all);
        self.latest = now;
        if self.selected_client().is_none() {
            self.selected = None;
            self.select_by(0);
        }
    }

    /// Does what a key stands for; breaks if it is the one to quit.
    pub fn key(&mut self, key: KeyEvent) -> ControlFlow<()> {
        match key.code {
            KeyCode::Char('q') => return ControlFlow::Break(()),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return ControlFlow::Break(());
            }
            KeyCode::Up | KeyCode::Char('k') => self.select_by(-1),
            KeyCode::Down | KeyCode::Char('j') => self.select_by(1),
            KeyCode::Enter => self.detail = !self.detail && self.selected.is_some(),
            KeyCode::Esc => self.detail = false,
            KeyCode::Char('i') => self.sort = Sort::Id,
            KeyCode::Char('m') => self.sort = Sort::Memory,
            KeyCode::Char('p') => self.sort = Sort::Puts,
            KeyCode::Char('g') => self.sort = Sort::Gets,
            KeyCode::Char('h') => self.sort = Sort::Hits,
            KeyCode::Char('e') => self.sort = Sort::Evicted,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// The domains as they are shown, with their latest rates.
    fn rows(&self) -> Vec<(&Client, Moment)> {
        let mut rows: Vec<_> = (self.latest.clients.iter())
            .map(|client| (client, self.history(client.domain).latest()))
            .collect();
        rows.sort_by_key(|(client, moment)| {
            let most = match self.sort {
                Sort::Id => 0,
                Sort::Memory => client.frames(),
                Sort::Puts => moment.puts,
                Sort::Gets => moment.gets,
                Sort::Hits => moment.hit_ratio(),
                Sort::Evicted => moment.evicted,
            };
            (Reverse(most), client.domain)
        });
        rows
    }

    fn history(&self, domain: u16) -> &History {
        static NONE: History = History(VecDeque::new());
        self.domains.get(&domain).unwrap_or(&NONE)
    }

    fn selected_client(&self) -> Option<&Client> {
        self.latest.client(self.selected?)
    }

    /// The row of the selected domain. The selection stays with the domain when rows change places.
    fn selected_row(&self) -> Option<usize> {
        let rows = self.rows();
        rows.iter()
            .position(|(client, _)| Some(client.domain) == self.selected)
    }

    /// Moves the selection by a number of rows; if there is none, selects the first row.
    fn select_by(&mut self, rows: isize) {
        let at = match self.selected_row() {
            Some(at) => at.saturating_add_signed(rows),
            None => 0,
        };
        let shown = self.rows();
        let last = shown.len().saturating_sub(1);
        self.selected = shown.get(at.min(last)).map(|(client, _)| client.domain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::{LIST, statistics};

    /// What [`LIST`] is two seconds later: domain 3 has put and got, domain 1 uses more memory.
    pub fn later() -> Statistics {
        let list = LIST
            .replace("pt:171", "pt:371")
            .replace("gs:20,gt:30", "gs:40,gt:70")
            .replace("Et:40", "Et:60")
            .replace("pe:40", "pe:60")
            .replace("fe:0,fp:0", "fe:900,fp:0");
        Statistics::read(&list).unwrap()
    }

    pub fn press(dashboard: &mut Dashboard, keys: &[KeyCode]) {
        for key in keys {
            assert!(dashboard.key((*key).into()).is_continue());
        }
    }

    fn order(dashboard: &Dashboard) -> Vec<u16> {
        let rows = dashboard.rows();
        rows.iter().map(|(client, _)| client.domain).collect()
    }

    #[test]
    fn rates_are_by_the_second() {
        let mut dashboard = Dashboard::new(statistics());
        dashboard.observe(later(), 2.0);
        let moment = dashboard.history(3).latest();
        assert_eq!((moment.puts, moment.gets, moment.hits), (100, 20, 10));
        assert_eq!(moment.hit_ratio(), 50);
        assert_eq!(moment.evicted, 10);
        assert_eq!(dashboard.store.latest().puts, 100);
        assert_eq!(dashboard.store.latest().evicted, 10);
    }

    #[test]
    fn domains_are_sorted_by_what_a_key_says() {
        let mut dashboard = Dashboard::new(statistics());
        dashboard.observe(later(), 2.0);
        for (key, expected) in [
            ('g', [3, 1]),
            ('i', [1, 3]),
            ('p', [3, 1]),
            ('m', [1, 3]),
            ('h', [3, 1]),
            ('e', [3, 1]),
        ] {
            press(&mut dashboard, &[KeyCode::Char(key)]);
            assert_eq!(order(&dashboard), expected, "{key}");
        }
    }

    #[test]
    fn the_selection_stays_with_its_domain() {
        let mut dashboard = Dashboard::new(statistics());
        dashboard.observe(later(), 2.0);
        press(&mut dashboard, &[KeyCode::Char('i'), KeyCode::Up]);
        assert_eq!(dashboard.selected, Some(1));
        press(&mut dashboard, &[KeyCode::Down, KeyCode::Down]);
        assert_eq!(dashboard.selected, Some(3));
        press(&mut dashboard, &[KeyCode::Char('g')]);
        assert_eq!(dashboard.selected_row(), Some(0));
    }

    #[test]
    fn a_domain_that_goes_takes_its_history_along() {
        let mut dashboard = Dashboard::new(statistics());
        dashboard.observe(later(), 2.0);
        press(&mut dashboard, &[KeyCode::Char('g')]);
        dashboard.selected = Some(3);
        let mut fewer = later();
        fewer.clients.retain(|client| client.domain == 1);
        dashboard.observe(fewer, 2.0);
        assert_eq!(dashboard.selected, Some(1));
        dashboard.observe(later(), 2.0);
        assert_eq!(dashboard.history(3).0.len(), 1);
        dashboard.observe(Statistics::default(), 2.0);
        assert_eq!(dashboard.selected, None);
        press(&mut dashboard, &[KeyCode::Down, KeyCode::Enter]);
        assert!(!dashboard.detail);
    }

    #[test]
    fn old_moments_are_forgotten() {
        let mut history = History::default();
        for puts in 0..=REMEMBERED as u64 {
            history.push(Moment {
                puts,
                ..Moment::default()
            });
        }
        assert_eq!(history.0.len(), REMEMBERED);
        assert_eq!(history.curve(|moment| moment.puts, 2), [599, 600]);
        assert_eq!(history.curve(|moment| moment.puts, 1000)[0], 1);
    }

    #[test]
    fn two_keys_quit() {
        let mut dashboard = Dashboard::new(statistics());
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(dashboard.key(KeyCode::Char('q').into()).is_break());
        assert!(dashboard.key(control_c).is_break());
        assert!(dashboard.key(KeyCode::Char('c').into()).is_continue());
    }
}
