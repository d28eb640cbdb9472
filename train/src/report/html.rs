//! A report as one HTML page: no script, no network, light and dark.

use std::fmt::Write;

use super::picture::{Picture, Strip};
use super::plots::Chart;
use super::table::{Cell, Table};
use super::{Block, Report, Section, Verdict};

const STYLE: &str = include_str!("style.css");

/// Text with the five characters escaped that mean something in HTML, in content and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// The page of a report.
pub(super) fn page(report: &Report) -> String {
    let mut out = Page(String::new());
    let title = escape(&report.title);
    out.line("<!doctype html>");
    out.line("<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.line("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    // Whatever a caption might smuggle in, the page loads nothing.
    out.line("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">");
    out.put(format_args!("<title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body><main>\n"));
    out.put(format_args!("<header><h1>{title}</h1>\n<dl>\n"));
    out.fact("command", &format!("<code>{}</code>", escape(&report.command)));
    out.fact("machine", &escape(&report.machine));
    if let Some(seed) = report.seed {
        out.fact("seed", &seed.to_string());
    }
    if let Some(commit) = &report.commit {
        out.fact("revision", &format!("<code>{}</code>", escape(commit)));
    }
    out.line("</dl></header>");
    for section in &report.sections {
        out.section(section);
    }
    out.put(format_args!("<footer>Vitrum {}</footer>\n", env!("CARGO_PKG_VERSION")));
    out.line("</main></body></html>");
    out.0
}

struct Page(String);

impl Page {
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string can't fail.
        let _ = self.0.write_fmt(text);
    }

    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn fact(&mut self, name: &str, html: &str) {
        self.put(format_args!("<div><dt>{name}</dt><dd>{html}</dd></div>\n"));
    }

    fn section(&mut self, section: &Section) {
        self.put(format_args!("<section>\n<h2>{}</h2>\n", escape(&section.title)));
        let is_chart = |block: &Block| matches!(block, Block::Chart(_));
        for group in section.blocks.chunk_by(|a, b| is_chart(a) && is_chart(b)) {
            let charts = group.first().is_some_and(is_chart);
            if charts {
                self.line("<div class=\"charts\">");
            }
            for block in group {
                match block {
                    Block::Note(text) => self.put(format_args!("<p>{}</p>\n", escape(text))),
                    Block::Table(table) => self.table(table),
                    Block::Chart(chart) => self.chart(chart),
                    Block::Strip(strip) => self.strip(strip),
                    Block::Facts(facts) => self.facts(facts),
                    Block::Verdicts(verdicts) => self.verdicts(verdicts),
                }
            }
            if charts {
                self.line("</div>");
            }
        }
        self.line("</section>");
    }

    fn table(&mut self, table: &Table) {
        self.line("<div class=\"wide\"><table>");
        if !table.caption.is_empty() {
            self.put(format_args!("<caption>{}</caption>\n", escape(&table.caption)));
        }
        let numeric = |column: usize| {
            let mut cells = table.rows.iter().filter_map(|row| row.get(column));
            !cells.any(|cell| matches!(cell, Cell::Text(_)))
        };
        self.line("<thead><tr>");
        for (index, column) in table.columns.iter().enumerate() {
            let class = if numeric(index) { " class=\"number\"" } else { "" };
            let unit = if column.unit.is_empty() {
                String::new()
            } else {
                format!(" <small>{}</small>", escape(&column.unit))
            };
            self.put(format_args!("<th scope=\"col\"{class}>{}{unit}</th>", escape(&column.title)));
        }
        self.line("</tr></thead><tbody>");
        for (row, cells) in table.rows.iter().enumerate() {
            self.0.push_str("<tr>");
            for (index, column) in table.columns.iter().enumerate() {
                let shown = cells.get(index).map_or_else(String::new, |cell| escape(&column.show(cell)));
                match (numeric(index), table.is_best(row, index)) {
                    (false, _) if index == 0 => self.put(format_args!("<th scope=\"row\">{shown}</th>")),
                    (false, _) => self.put(format_args!("<td>{shown}</td>")),
                    (true, false) => self.put(format_args!("<td class=\"number\">{shown}</td>")),
                    (true, true) => self.put(format_args!("<td class=\"number\"><strong>{shown}</strong></td>")),
                }
            }
            self.line("</tr>");
        }
        self.line("</tbody></table></div>");
    }

    fn chart(&mut self, chart: &Chart) {
        self.put(format_args!("<figure class=\"chart\">\n<h3>{}</h3>\n", escape(&chart.title)));
        if !chart.legend.is_empty() {
            self.0.push_str("<ul class=\"legend\">");
            for (name, color) in &chart.legend {
                self.put(format_args!("<li><i style=\"background:{}\"></i>{}</li>", escape(color), escape(name)));
            }
            self.line("</ul>");
        }
        self.line(&chart.svg);
        if !chart.caption.is_empty() {
            self.put(format_args!("<figcaption>{}</figcaption>\n", escape(&chart.caption)));
        }
        self.line("</figure>");
    }

    fn facts(&mut self, facts: &[(String, String)]) {
        self.line("<dl class=\"facts\">");
        for (name, value) in facts {
            self.fact(&escape(name), &format!("<code>{}</code>", escape(value)));
        }
        self.line("</dl>");
    }

    fn verdicts(&mut self, verdicts: &[Verdict]) {
        self.line("<ol class=\"verdicts\">");
        for Verdict { passed, title, figure, detail } in verdicts {
            let word = if *passed { "pass" } else { "fail" };
            let (title, figure, detail) = (escape(title), escape(figure), escape(detail));
            self.put(format_args!("<li class=\"{word}\"><b>{word}</b><div>{title}<span>{figure}</span>"));
            if !detail.is_empty() {
                self.put(format_args!("<small>{detail}</small>"));
            }
            self.line("</div></li>");
        }
        self.line("</ol>");
    }

    fn strip(&mut self, strip: &Strip) {
        if !strip.title.is_empty() {
            self.put(format_args!("<h3>{}</h3>\n", escape(&strip.title)));
        }
        self.line("<div class=\"strip\">");
        for Picture { caption, url, size: [height, width] } in &strip.pictures {
            // Whole multiples: pixels of small images stay square and sharp.
            let times = 128_usize.div_ceil((*width).max(1));
            let (alt, width, height) = (escape(caption), width * times, height * times);
            self.put(format_args!(
                "<figure><img src=\"{}\" alt=\"{alt}\" width=\"{width}\" height=\"{height}\"><figcaption>{alt}</figcaption></figure>\n",
                escape(url)
            ));
        }
        self.line("</div>");
    }
}
