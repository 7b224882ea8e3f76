//! What stands on top of the first page.

use engine_sdk::prelude::*;

use crate::colour::{INK, QUIET};
use crate::config::Settings;
use crate::file::Reference;
use crate::sheet::{BASELINE, Canvas, LEADING, horizontal};

const TITLE: f32 = 20.0;
const SUBTITLE: f32 = 11.0;
const BODY: f32 = 9.0;
/// The largest that a logo is shown, in points.
const LOGO: (f32, f32) = (150.0, 44.0);
/// A name of a parameter takes no more of its column.
const NAME_SHARE: f32 = 0.45;

/// Writes title, subtitle, description, parameters and logo.
pub fn write(settings: &Settings, canvas: &mut Canvas, logo: Option<Reference>) -> Result<()> {
    let (config, sheet) = (&settings.config, canvas.sheet);
    canvas.y = sheet.height - sheet.margin;
    let top = canvas.y;
    let mut wide = sheet.inner();
    let mut logo_height = 0.0;
    if let (Some(_), Some(image)) = (logo, &settings.logo) {
        let (width, height) = (image.width as f32, image.height as f32);
        let scale = (LOGO.0 / width).min(LOGO.1 / height);
        let (width, height) = (width * scale, height * scale);
        let place = (sheet.right() - width, top - height);
        let operators = format!("q {width:.2} 0 0 {height:.2} {:.2} {:.2} cm /Logo Do Q\n", place.0, place.1);
        canvas.content.extend_from_slice(operators.as_bytes());
        wide -= width + 16.0;
        logo_height = height;
    }
    let texts = [(&config.title, TITLE, true, settings.accent), (&config.subtitle, SUBTITLE, false, QUIET)];
    for (text, size, bold, colour) in texts {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            let laid = canvas.layout.laid(text, bold, size, wide);
            canvas.block(&laid, (sheet.left(), wide), size, colour, "the title")?;
        }
    }
    if canvas.pages.is_empty() {
        canvas.y = canvas.y.min(top - logo_height);
    }
    let has_top = canvas.y < top || !canvas.pages.is_empty();
    if has_top {
        canvas.y -= 5.0;
        let edges = (sheet.left(), sheet.right());
        horizontal(edges, canvas.y, 1.2, settings.accent, &mut canvas.content);
        canvas.y -= 9.0;
    }
    if let Some(text) = config.description.as_deref().filter(|text| !text.is_empty()) {
        let laid = canvas.layout.laid(text, false, BODY, sheet.inner());
        canvas.block(&laid, (sheet.left(), sheet.inner()), BODY, INK, "the description")?;
        canvas.y -= 6.0;
    }
    parameters(settings, canvas)
}

/// Names and values, in columns side by side.
fn parameters(settings: &Settings, canvas: &mut Canvas) -> Result<()> {
    let all: Vec<(String, String)> =
        settings.config.parameters.iter().map(|(name, value)| (format!("{name}:"), value.to_string())).collect();
    if all.is_empty() {
        return Ok(());
    }
    let sheet = canvas.sheet;
    let count = (if sheet.width > sheet.height { 3 } else { 2 }).min(all.len());
    let gap = 18.0;
    let column = (sheet.inner() - gap * (count as f32 - 1.0)) / count as f32;
    let widest = all.iter().map(|(name, _)| canvas.layout.width(name, false, BODY)).fold(0.0, f32::max);
    let of_name = widest.min(column * NAME_SHARE);
    let of_value = column - of_name - 6.0;
    for row in all.chunks(count) {
        let mut cells = Vec::new();
        for (name, value) in row {
            let name = canvas.layout.laid(name, false, BODY, of_name + 0.01);
            cells.push((name, canvas.layout.laid(value, false, BODY, of_value)));
        }
        let lines = cells.iter().map(|(name, value)| name.lines.len().max(value.lines.len())).max().unwrap_or(1);
        let height = BODY * LEADING;
        for at in 0..lines {
            if canvas.y - height < sheet.bottom() {
                canvas.turn()?;
            }
            let y = canvas.y - BODY * BASELINE;
            for (place, (name, value)) in cells.iter().enumerate() {
                let left = sheet.left() + place as f32 * (column + gap);
                canvas.line(name, at, (left, y), BODY, QUIET, "the parameters");
                canvas.line(value, at, (left + of_name + 6.0, y), BODY, INK, "the parameters");
            }
            canvas.y -= height;
        }
        canvas.y -= 1.5;
    }
    canvas.y -= 6.0;
    Ok(())
}
