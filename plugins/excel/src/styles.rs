//! How cells look.

use crate::text;

/// The number of Excel's first format that is not built in.
const FIRST_FORMAT: usize = 164;
/// Cells without a look, and those of the header.
const OWN: usize = 2;

/// The styles of a workbook.
#[derive(Default)]
pub struct Styles {
    formats: Vec<String>,
}

/// The format of numbers that are shown as they are.
pub const GENERAL: &str = "General";
/// The header's.
pub const HEADER: usize = 1;

impl Styles {
    /// The style with a number format, and the bold one of totals.
    pub fn of(&mut self, format: String) -> (usize, usize) {
        let at = self.formats.iter().position(|known| *known == format).unwrap_or_else(|| {
            self.formats.push(format);
            self.formats.len() - 1
        });
        (OWN + 2 * at, OWN + 2 * at + 1)
    }

    /// The part `xl/styles.xml`.
    pub fn part(&self) -> String {
        let number = |at: usize, format: &str| if format == GENERAL { 0 } else { FIRST_FORMAT + at };
        let formats: String = self
            .formats
            .iter()
            .enumerate()
            .map(|(at, it)| format!(r#"<numFmt numFmtId="{}" formatCode="{}"/>"#, FIRST_FORMAT + at, text::escaped(it)))
            .collect();
        let formats = match self.formats.len() {
            0 => String::new(),
            count => format!(r#"<numFmts count="{count}">{formats}</numFmts>"#),
        };
        let cell = |number: usize, bold: bool| {
            let font = u8::from(bold);
            format!(
                r#"<xf numFmtId="{number}" fontId="{font}" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/>"#
            )
        };
        let cells: String = self
            .formats
            .iter()
            .enumerate()
            .map(|(at, it)| cell(number(at, it), false) + &cell(number(at, it), true))
            .collect();
        format!(
            r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{formats}<fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font><font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts><fills count="3"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill><fill><patternFill patternType="solid"><fgColor rgb="FFD9E1F2"/><bgColor indexed="64"/></patternFill></fill></fills><borders count="2"><border><left/><right/><top/><bottom/><diagonal/></border><border><left/><right/><top/><bottom style="thin"><color auto="1"/></bottom><diagonal/></border></borders><cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs><cellXfs count="{}"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/><xf numFmtId="0" fontId="1" fillId="2" borderId="1" xfId="0" applyFont="1" applyFill="1" applyBorder="1"/>{cells}</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>"#,
            OWN + 2 * self.formats.len()
        )
    }
}
