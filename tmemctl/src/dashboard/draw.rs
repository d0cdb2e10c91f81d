// SPDX-License-Identifier: MIT OR Apache-2.0
//! The dashboard's screen.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table, TableState};

use super::{Dashboard, History, Moment, Sort};
use crate::list::{self, state, summary};
use crate::statistics::Client;
use crate::table::{mib, percent};

/// Height of a curve in lines: its frame, and three for the curve itself.
const CURVE: u16 = 5;

const KEYS: &str = " q quit  ↑↓ select  Enter detail  sort by: i id  m memory  p puts  g gets  h hits  e evictions ";

/// A curve: its name, its latest value in words, its figure, its colour.
type Curve = (
    &'static str,
    fn(&Moment) -> String,
    fn(&Moment) -> u64,
    Color,
);

const CURVES: [Curve; 5] = [
    (
        "memory",
        |now| mib(now.frames),
        |one| one.frames,
        Color::Cyan,
    ),
    (
        "puts",
        |now| format!("{}/s", now.puts),
        |one| one.puts,
        Color::Yellow,
    ),
    (
        "gets",
        |now| format!("{}/s", now.gets),
        |one| one.gets,
        Color::Green,
    ),
    (
        "hits",
        |now| percent(now.hits, now.gets),
        Moment::hit_ratio,
        Color::Blue,
    ),
    (
        "evicted",
        |now| format!("{}/s", now.evicted),
        |one| one.evicted,
        Color::Red,
    ),
];

/// Fills the screen.
pub fn draw(dashboard: &Dashboard, frame: &mut Frame) {
    let detail = match dashboard.selected_client() {
        Some(client) if dashboard.detail => CURVE + client.pools.len() as u16 + 3,
        _ => 0,
    };
    let [top, curves, domains, detail, keys] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(CURVE),
        Constraint::Min(4),
        Constraint::Length(detail),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let text =
        Paragraph::new(summary(&dashboard.latest)).wrap(ratatui::widgets::Wrap { trim: true });
    frame.render_widget(text, top);
    draw_curves(&dashboard.store, frame, curves);
    draw_domains(dashboard, frame, domains);
    if let Some(client) = dashboard.selected_client()
        && dashboard.detail
    {
        let [curves, pools] =
            Layout::vertical([Constraint::Length(CURVE), Constraint::Min(0)]).areas(detail);
        draw_curves(dashboard.history(client.domain), frame, curves);
        draw_pools(client, frame, pools);
    }
    frame.render_widget(Line::from(KEYS).reversed(), keys);
}

fn draw_curves(history: &History, frame: &mut Frame, area: Rect) {
    let areas: [Rect; CURVES.len()] =
        Layout::horizontal([Constraint::Fill(1); CURVES.len()]).areas(area);
    for ((name, latest, figure, colour), area) in CURVES.into_iter().zip(areas) {
        let title = format!(" {name} {} ", latest(&history.latest()));
        let block = Block::bordered().title(title);
        let width = block.inner(area).width;
        let mut curve = Sparkline::default()
            .block(block)
            .style(Style::new().fg(colour))
            .data(history.curve(figure, width.into()));
        if name == "hits" {
            curve = curve.max(100);
        }
        frame.render_widget(curve, area);
    }
}

fn draw_domains(dashboard: &Dashboard, frame: &mut Frame, area: Rect) {
    let columns = [
        ("ID", 5, Some(Sort::Id)),
        ("Name", 0, None),
        ("Weight", 7, None),
        ("State", 20, None),
        ("Ephemeral", 10, None),
        ("Persistent", 10, None),
        ("Memory", 10, Some(Sort::Memory)),
        ("Puts/s", 9, Some(Sort::Puts)),
        ("Gets/s", 9, Some(Sort::Gets)),
        ("Hit", 6, Some(Sort::Hits)),
        ("Flushes/s", 10, None),
        ("Evicted/s", 10, Some(Sort::Evicted)),
    ];
    let header = columns.map(|(name, _, sort)| {
        let style = if sort == Some(dashboard.sort) {
            Style::new().bold().underlined()
        } else {
            Style::new().bold()
        };
        aligned(name.to_owned(), is_words(name)).style(style)
    });
    let rows = dashboard.rows().into_iter().map(|(client, now)| {
        let cells = [
            client.domain.to_string(),
            client.name.clone().unwrap_or_default(),
            client.weight.to_string(),
            state(client),
            mib(client.ephemeral_pages),
            mib(client.persistent_pages()),
            mib(client.frames()),
            now.puts.to_string(),
            now.gets.to_string(),
            percent(now.hits, now.gets),
            now.flushes.to_string(),
            now.evicted.to_string(),
        ];
        let names = columns.map(|(name, ..)| name);
        Row::new(
            cells
                .into_iter()
                .zip(names)
                .map(|(cell, name)| aligned(cell, is_words(name))),
        )
    });
    let widths = columns.map(|(_, width, _)| match width {
        0 => Constraint::Fill(1),
        width => Constraint::Length(width),
    });
    let table = Table::new(rows, widths)
        .header(Row::new(header))
        .row_highlight_style(Modifier::REVERSED)
        .block(Block::bordered().title(" domains "));
    let mut selection = TableState::new().with_selected(dashboard.selected_row());
    frame.render_stateful_widget(table, area, &mut selection);
}

fn draw_pools(client: &Client, frame: &mut Frame, area: Rect) {
    let columns = list::POOL.map(|(name, _)| name);
    let rows = client.pools.iter().map(|pool| {
        Row::new(
            list::pool(pool)
                .into_iter()
                .zip(columns)
                .map(|(cell, name)| aligned(cell, is_words(name))),
        )
    });
    let title = match &client.name {
        Some(name) => format!(" pools of domain {} ({name}) ", client.domain),
        None => format!(" pools of domain {} ", client.domain),
    };
    let header = columns.map(|name| aligned(name.to_owned(), is_words(name)));
    let table = Table::new(rows, [Constraint::Fill(1); 9])
        .header(Row::new(header).bold())
        .block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

/// Whether a column contains words, which are aligned left; numbers are aligned right.
fn is_words(column: &str) -> bool {
    matches!(column, "Name" | "State" | "Type")
}

fn aligned(text: String, left: bool) -> Cell<'static> {
    let side = if left {
        Alignment::Left
    } else {
        Alignment::Right
    };
    Cell::new(Text::from(text).alignment(side))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Cell;
    use ratatui::crossterm::event::KeyCode;

    use super::super::tests::{later, press};
    use super::{Dashboard, draw};
    use crate::statistics::Statistics;
    use crate::statistics::tests::statistics;

    fn screen(dashboard: &Dashboard, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(dashboard, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let symbols = buffer.content().chunks(width.into());
        symbols
            .map(|line| line.iter().map(Cell::symbol).collect())
            .collect()
    }

    fn dashboard() -> Dashboard {
        let mut dashboard = Dashboard::new(statistics());
        let mut now = later();
        now.clients[1].name = Some("web".into());
        dashboard.observe(now, 2.0);
        dashboard
    }

    #[test]
    fn rates_and_memory_are_on_the_screen() {
        let screen = screen(&dashboard(), 132, 24);
        let row = screen.iter().position(|line| line.contains("web")).unwrap();
        let words: Vec<_> = screen[row].split_whitespace().collect();
        assert_eq!(words[1..5], ["3", "web", "100", "active"], "{screen:#?}");
        assert!(
            words.windows(3).any(|three| three == ["100", "20", "50"]),
            "{screen:#?}"
        );
        let all = screen.join("\n");
        for part in [
            "gets 20/s",
            "hits 50 %",
            "evicted 10/s",
            "█",
            "frozen, uncompressed",
        ] {
            assert!(all.contains(part), "{part}: {screen:#?}");
        }
        // By gets, domain 3 comes first.
        assert!(screen[row + 1].contains("frozen"), "{screen:#?}");
        assert!(!all.contains("pools of domain"));
    }

    #[test]
    fn one_domain_is_shown_in_detail() {
        let mut dashboard = dashboard();
        dashboard.selected = Some(3);
        press(&mut dashboard, &[KeyCode::Enter]);
        let screen = screen(&dashboard, 132, 30);
        let all = screen.join("\n");
        assert!(all.contains("pools of domain 3 (web)"), "{screen:#?}");
        assert!(all.contains("persistent"), "{screen:#?}");
        press(&mut dashboard, &[KeyCode::Esc]);
        assert!(!screen_has(&dashboard, "pools of domain"));
    }

    fn screen_has(dashboard: &Dashboard, part: &str) -> bool {
        screen(dashboard, 132, 30).join("\n").contains(part)
    }

    #[test]
    fn small_screens_and_empty_stores_do_no_harm() {
        let mut dashboard = dashboard();
        press(&mut dashboard, &[KeyCode::Enter]);
        for (width, height) in [(1, 1), (20, 5), (80, 10), (300, 100)] {
            screen(&dashboard, width, height);
        }
        dashboard.observe(Statistics::default(), 1.0);
        assert!(screen_has(&dashboard, "0 pages"));
    }
}
