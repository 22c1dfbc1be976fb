//! The picture of a run: what each variant adds to a call, as bars of processor time. Plain SVG, readable on light and dark.

use std::fmt::Write as _;

/// One kind of call.
pub(crate) struct Group {
    /// What is called.
    pub(crate) title: String,
    /// One bar per variant.
    pub(crate) bars: Vec<Bar>,
}

/// What one variant adds to a call, in microseconds on a processor.
pub(crate) struct Bar {
    /// The variant.
    pub(crate) name: &'static str,
    /// Inside Envoy; below nothing on a noisy machine.
    pub(crate) envoy_us: f64,
    /// In the service beside it.
    pub(crate) beside_us: f64,
    /// Whether it is the Holdpoint filter.
    pub(crate) ours: bool,
}

const WIDTH: usize = 760;
const NAMES_WIDTH: usize = 190;
const NUMBERS_WIDTH: usize = 130;
const TOP: usize = 62;
const TITLE_HEIGHT: usize = 34;
const BAR_HEIGHT: usize = 16;
const STEP: usize = 22;

/// Colours with enough contrast on white and on near-black.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.small{font-size:12px;fill:#57606a}\
    .title{font-weight:600}.ours{fill:#0969da}.other{fill:#8c959f}.beside{fill-opacity:.45}.back{fill:#fff}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9da7b1}.ours{fill:#4493f8}.back{fill:#0d1117}}";

/// The picture; each group has a scale of its own, named by its numbers.
pub(crate) fn svg(groups: &[Group], caption: &str) -> String {
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = TOP + groups.len() * TITLE_HEIGHT + bars * STEP + 16;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"What each variant adds to a call\"><style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"16\" y=\"24\">Processor time added to one call, in µs. Shorter is better.</text>\n\
         <text class=\"small\" x=\"16\" y=\"44\">Solid: in Envoy. Pale: in the service beside it. {}</text>\n",
        escaped(caption)
    );
    let mut y = TOP;
    for group in groups {
        y += TITLE_HEIGHT;
        let _ = writeln!(out, "<text class=\"title\" x=\"16\" y=\"{}\">{}</text>", y - 10, escaped(&group.title));
        let longest = group.bars.iter().map(Bar::whole_us).fold(1.0, f64::max);
        for bar in &group.bars {
            out += &bar.svg(y, longest);
            y += STEP;
        }
    }
    out + "</svg>\n"
}

impl Bar {
    fn whole_us(&self) -> f64 {
        self.envoy_us.max(0.0) + self.beside_us.max(0.0)
    }

    fn svg(&self, y: usize, longest_us: f64) -> String {
        let room = (WIDTH - NAMES_WIDTH - NUMBERS_WIDTH) as f64;
        let width = |us: f64| us.max(0.0) / longest_us * room;
        let colour = if self.ours { "ours" } else { "other" };
        let (envoy, beside) = (width(self.envoy_us), width(self.beside_us));
        let middle = y + BAR_HEIGHT - 4;
        let number = match self.beside_us > 0.05 {
            true => format!("{:.1} ({:.1} + {:.1})", self.envoy_us + self.beside_us, self.envoy_us, self.beside_us),
            false => format!("{:.1}", self.envoy_us),
        };
        format!(
            "<text x=\"16\" y=\"{middle}\">{}</text>\
             <rect class=\"{colour}\" x=\"{NAMES_WIDTH}\" y=\"{y}\" width=\"{envoy:.1}\" height=\"{BAR_HEIGHT}\"/>\
             <rect class=\"{colour} beside\" x=\"{:.1}\" y=\"{y}\" width=\"{beside:.1}\" height=\"{BAR_HEIGHT}\"/>\
             <text class=\"small\" x=\"{:.1}\" y=\"{middle}\">{number}</text>\n",
            escaped(self.name),
            NAMES_WIDTH as f64 + envoy,
            NAMES_WIDTH as f64 + envoy + beside + 6.0,
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
