//! Two drawings for docs/performance.md. They are plain SVG: text that can be read aloud and searched, in the reader's
//! own light or dark colours.

use std::fmt::Write;

/// Width of both, in units.
const WIDTH: f64 = 720.0;

/// Colours by what they are for. The second set is for dark pages.
const STYLE: &str = "<style>\n\
    svg { font: 14px system-ui, sans-serif; --ink: #1f2328; --faint: #d0d7de; --one: #0550ae; --two: #bc4c00 }\n\
    @media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --faint: #3d444d; --one: #79c0ff; --two: #ffa657 } }\n\
    text { fill: var(--ink) } .one { fill: var(--one) } .two { fill: var(--two) }\n\
    line { stroke: var(--faint) } path { fill: none; stroke-width: 2.5 }\n\
    path.one { fill: none; stroke: var(--one) } path.two { fill: none; stroke: var(--two); stroke-dasharray: 7 4 }\n\
    </style>\n";

fn drawing(height: f64, title: &str, description: &str, content: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">{title}</title>\n<desc id=\"desc\">{description}</desc>\n{STYLE}{content}</svg>\n"
    )
}

/// Where a run's time goes: each step begins where the one before it ended. Times in milliseconds.
pub(super) fn steps(title: &str, steps: &[(&str, f64)]) -> String {
    const LEFT: f64 = 310.0;
    const ROW: f64 = 34.0;
    let whole: f64 = steps.iter().map(|(_, time)| time.max(0.0)).sum();
    let scale = (WIDTH - LEFT - 80.0) / whole.max(f64::MIN_POSITIVE);
    let mut content = String::new();
    let mut described = String::new();
    let mut begins = 0.0;
    for (row, (what, time)) in steps.iter().enumerate() {
        let time = time.max(0.0);
        let top = 12.0 + row as f64 * ROW;
        let (x, width) = (LEFT + begins * scale, (time * scale).max(1.0));
        let microseconds = time * 1000.0;
        let middle = top + 16.0;
        let _ = writeln!(
            content,
            "<text x=\"{:.0}\" y=\"{middle:.0}\" text-anchor=\"end\">{what}</text>\
             <rect class=\"{}\" x=\"{x:.1}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"22\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"{middle:.0}\">{microseconds:.0} µs</text>",
            LEFT - 10.0,
            if row == 0 { "two" } else { "one" },
            x + width + 8.0,
        );
        let _ = write!(described, "{what}: {microseconds:.0} microseconds. ");
        begins += time;
    }
    let _ = write!(described, "In all {:.0} microseconds.", whole * 1000.0);
    drawing(24.0 + steps.len() as f64 * ROW, title, &described, &content)
}

/// Times in milliseconds by the number of callers, for two kinds of call.
pub(super) fn callers(title: &str, series: [(&str, &[(usize, f64)]); 2]) -> String {
    const HEIGHT: f64 = 320.0;
    const LEFT: f64 = 60.0;
    const RIGHT: f64 = 40.0;
    const TOP: f64 = 24.0;
    const BOTTOM: f64 = 50.0;
    let points = || series.iter().flat_map(|(_, points)| points.iter());
    let most = points().map(|(callers, _)| *callers).max().unwrap_or(1) as f64;
    let longest = points().map(|(_, time)| *time).fold(1.0, f64::max);
    let step = step(longest);
    let ceiling = (longest / step).ceil() * step;
    let x = |callers: f64| LEFT + callers / most * (WIDTH - LEFT - RIGHT);
    let y = |time: f64| HEIGHT - BOTTOM - time / ceiling * (HEIGHT - TOP - BOTTOM);
    let mut content = String::new();
    let mut line = 0.0;
    while line <= ceiling {
        let at = y(line);
        let _ = writeln!(
            content,
            "<line x1=\"{LEFT:.0}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{line:.0}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 5.0
        );
        line += step;
    }
    let mut numbers: Vec<usize> = points().map(|(callers, _)| *callers).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let _ = writeln!(
            content,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{number}</text>",
            x(number as f64),
            HEIGHT - BOTTOM + 20.0
        );
    }
    let _ = writeln!(
        content,
        "<text x=\"{LEFT:.0}\" y=\"14\">ms until all are answered</text>\
         <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">callers at once</text>",
        WIDTH - RIGHT,
        HEIGHT - 8.0
    );
    let mut described = String::new();
    for ((name, points), class) in series.iter().zip(["one", "two"]) {
        let mut path = String::new();
        let _ = write!(described, "{name}: ");
        for (index, (callers, time)) in points.iter().enumerate() {
            let (across, down) = (x(*callers as f64), y(*time));
            let letter = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{across:.1} {down:.1} ");
            let _ = writeln!(
                content,
                "<circle class=\"{class}\" cx=\"{across:.1}\" cy=\"{down:.1}\" r=\"4\"/>"
            );
            let comma = if index + 1 < points.len() { ", " } else { ". " };
            let _ = write!(described, "{callers} at once {time:.0} ms{comma}");
        }
        let _ = writeln!(
            content,
            "<path class=\"{class}\" d=\"{}\"/>",
            path.trim_end()
        );
        if let Some((callers, time)) = points.last() {
            let _ = writeln!(
                content,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                x(*callers as f64),
                y(*time) - 10.0
            );
        }
    }
    drawing(HEIGHT, title, described.trim_end(), &content)
}

/// The distance of grid lines, so that there are about five.
fn step(longest: f64) -> f64 {
    let ten = 10_f64.powf((longest / 5.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * ten)
        .into_iter()
        .find(|step| longest / step <= 6.0)
        .unwrap_or(ten * 10.0)
}

#[cfg(test)]
mod tests {
    use super::{callers, step, steps};

    #[test]
    fn what_is_drawn_is_said_as_well() {
        let drawn = steps("a run", &[("empty", 0.43), ("ours", 0.5)]);
        assert!(drawn.contains("<title id=\"title\">a run</title>"));
        assert!(drawn.contains("empty: 430 microseconds. ours: 500 microseconds. In all 930"));
        let drawn = callers(
            "many",
            [
                ("good", &[(1, 1.0), (50, 40.0)]),
                ("expired", &[(1, 120.0)]),
            ],
        );
        assert!(
            drawn.contains("good: 1 at once 1 ms, 50 at once 40 ms. expired: 1 at once 120 ms.")
        );
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"));
    }

    #[test]
    fn there_are_a_few_grid_lines() {
        for (longest, expected) in [(4.0, 1.0), (39.0, 10.0), (452.0, 100.0), (700.0, 200.0)] {
            assert_eq!(step(longest), expected, "{longest}");
        }
    }
}
