// SPDX-License-Identifier: MIT OR Apache-2.0
//! The speeds as a picture: bars next to the plain copy, `lz4_flex` and the plain map, with the budgets as marks.

use std::fs;
use std::path::Path;

use anyhow::{Context, Error, Result};
use plotters::prelude::*;

use crate::speed::Speed;

const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const THEIRS: RGBColor = RGBColor(0xb8, 0xb8, 0xb8);
const BUDGET: RGBColor = RGBColor(0xc0, 0x30, 0x20);

/// A group of bars: ours, what it is compared with, and the budget.
struct Group {
    name: String,
    ours: f64,
    theirs: f64,
    budget: f64,
}

/// Draws the chart to a file.
///
/// # Errors
/// If it can't be written.
pub fn draw(speed: &Speed, file: &Path) -> Result<()> {
    let groups = groups(speed);
    let size = (960, 120 + 34 * groups.len() as u32);
    let mut picture = String::from("<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->\n");
    draw_groups(
        &groups,
        &SVGBackend::with_string(&mut picture, size).into_drawing_area(),
    )
    .map_err(|error| Error::msg(format!("can't draw the chart: {error}")))?;
    fs::write(file, picture).with_context(|| format!("can't write {}", file.display()))
}

fn groups(speed: &Speed) -> Vec<Group> {
    let mut groups = Vec::new();
    for shape in [1024, 1] {
        for (store, what, budget) in [
            ("persistent", "put new", 1.5),
            ("persistent", "put again", 1.3),
            ("persistent", "get", 1.3),
            ("persistent", "miss", 0.2),
            ("persistent", "flush", 0.8),
            ("ephemeral", "get", 1.3),
            ("ephemeral", "put that evicts", 1.95),
        ] {
            let ratio = |store| {
                speed
                    .find(store, what, shape)
                    .map_or(0.0, |measured| measured.series.ratio())
            };
            let pages = if shape == 1 { "1 page" } else { "1,024 pages" };
            groups.push(Group {
                name: format!("{what}, {store}, {pages} an object"),
                ours: ratio(store),
                theirs: if store == "persistent" {
                    ratio("plain map")
                } else {
                    0.0
                },
                budget: budget * if shape == 1 && budget > 0.2 { 1.3 } else { 1.0 },
            });
        }
    }
    for what in ["put text", "get text"] {
        let ratio = speed
            .find("compressed", what, 1024)
            .map_or(0.0, |measured| measured.series.ratio());
        groups.push(Group {
            name: format!("{what}, x lz4_flex alone"),
            ours: ratio,
            theirs: 1.0,
            budget: 1.15,
        });
    }
    groups
}

fn draw_groups<DB: DrawingBackend>(
    groups: &[Group],
    root: &DrawingArea<DB, plotters::coord::Shift>,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    root.fill(&WHITE)?;
    let count = groups.len() as f64;
    let most = groups
        .iter()
        .flat_map(|group| [group.ours, group.theirs, group.budget])
        .fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(root)
        .caption(
            "Time of an operation, as a multiple of a cold 4 KiB copy",
            ("sans-serif", 20),
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(330)
        .build_cartesian_2d(0.0..most * 1.08, count..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(12)
        .draw()?;
    for (place, group) in groups.iter().enumerate() {
        let top = place as f64;
        let bar = |from: f64, to: f64, length: f64, colour: RGBColor| {
            Rectangle::new([(0.0, top + from), (length, top + to)], colour.filled())
        };
        chart.draw_series([
            bar(0.12, 0.5, group.ours, OURS),
            bar(0.5, 0.88, group.theirs, THEIRS),
        ])?;
        let mark = [(group.budget, top + 0.05), (group.budget, top + 0.95)];
        chart.draw_series([PathElement::new(mark, BUDGET.stroke_width(2))])?;
        let (x, y) = chart.backend_coord(&(0.0, top + 0.5));
        let style =
            ("sans-serif", 14)
                .into_text_style(root)
                .pos(plotters::style::text_anchor::Pos::new(
                    plotters::style::text_anchor::HPos::Right,
                    plotters::style::text_anchor::VPos::Center,
                ));
        root.draw_text(&group.name, &style, (x - 8, y))?;
    }
    // The copy itself.
    chart.draw_series([PathElement::new([(1.0, 0.0), (1.0, count)], BLACK)])?;
    let legend = [
        ("tmem", OURS),
        ("plain map (or lz4_flex alone)", THEIRS),
        ("budget", BUDGET),
        ("plain copy", BLACK),
    ];
    for (place, (text, colour)) in legend.into_iter().enumerate() {
        let (x, y) = (
            350 + 130 * place as i32 + if place > 1 { 90 } else { 0 },
            38,
        );
        root.draw(&Rectangle::new([(x, y), (x + 12, y + 12)], colour.filled()))?;
        root.draw_text(text, &("sans-serif", 13).into_text_style(root), (x + 16, y))?;
    }
    root.present()
}
