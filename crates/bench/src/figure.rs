//! Figures and how they are printed.

use std::fmt::Write as _;

/// One measured figure.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// It should be no more than this; some figures are only for comparison.
    pub target: Option<f64>,
    /// What it was.
    pub measured: f64,
    /// Of both.
    pub unit: &'static str,
    /// How it came about: median of how many, and what else a reader should know.
    pub note: String,
}

impl Figure {
    /// A figure with a target.
    pub fn against(
        name: impl Into<String>,
        target: f64,
        measured: f64,
        unit: &'static str,
        note: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), target: Some(target), measured, unit, note: note.into() }
    }

    /// A figure without one.
    pub fn only(name: impl Into<String>, measured: f64, unit: &'static str, note: impl Into<String>) -> Self {
        Self { name: name.into(), target: None, measured, unit, note: note.into() }
    }

    /// The cells of its line: name, target, measured, share of the target, verdict, note.
    fn cells(&self) -> [String; 6] {
        let number = |value: f64| format!("{} {}", rounded(value), self.unit).trim_end().to_owned();
        let (target, share, verdict) = match self.target {
            None => (String::new(), String::new(), ""),
            Some(target) => {
                let share = if target > 0.0 { format!("{:.2}", self.measured / target) } else { String::new() };
                (format!("<= {}", number(target)), share, if self.measured <= target { "pass" } else { "MISS" })
            }
        };
        [self.name.clone(), target, number(self.measured), share, verdict.to_owned(), self.note.clone()]
    }
}

const HEAD: [&str; 6] = ["figure", "target", "measured", "of target", "", "how"];

/// For people: aligned columns.
pub fn table(figures: &[Figure]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(figures.iter().map(Figure::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut shown = String::new();
        for (column, cell) in line.iter().enumerate() {
            // Numbers to the right, words to the left.
            let width = widths[column];
            let _ = match column {
                1..=3 => write!(shown, "{cell:>width$}  "),
                _ => write!(shown, "{cell:<width$}  "),
            };
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

/// For BENCHMARKS.md.
pub fn markdown(figures: &[Figure]) -> String {
    let mut text = format!("| {} |\n|---|---:|---:|---:|---|---|\n", HEAD.join(" | "));
    for figure in figures {
        let _ = writeln!(text, "| {} |", figure.cells().map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text
}

/// Three significant digits, and never fewer than the digits before the point.
fn rounded(value: f64) -> String {
    let decimals = match value.abs() {
        size if size == 0.0 || size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests;
