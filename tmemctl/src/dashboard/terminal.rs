// SPDX-License-Identifier: MIT OR Apache-2.0
//! The dashboard on a terminal: looks, draws, and obeys keys until told to quit.

use std::time::{Duration, Instant};

use anyhow::Result;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};

use super::Dashboard;
use super::draw::draw;
use crate::statistics::Statistics;

/// Shows what `look` returns, at that interval.
///
/// # Errors
/// If `look` or the terminal fails.
pub fn run(look: impl FnMut() -> Result<Statistics>, every: Duration) -> Result<()> {
    let mut terminal = ratatui::try_init()?;
    let ended = show(&mut terminal, look, every);
    ratatui::try_restore()?;
    ended
}

fn show(
    terminal: &mut DefaultTerminal,
    mut look: impl FnMut() -> Result<Statistics>,
    every: Duration,
) -> Result<()> {
    let mut dashboard = Dashboard::new(look()?);
    let mut then = Instant::now();
    loop {
        terminal.draw(|frame| draw(&dashboard, frame))?;
        // The rest of the interval is spent waiting for keys. When the terminal changes size, it is drawn again.
        if event::poll(every.saturating_sub(then.elapsed()))? {
            if let Event::Key(key) = event::read()?
                && key.is_press()
                && dashboard.key(key).is_break()
            {
                return Ok(());
            }
            continue;
        }
        let now = look()?;
        dashboard.observe(now, then.elapsed().as_secs_f64());
        then = Instant::now();
    }
}
