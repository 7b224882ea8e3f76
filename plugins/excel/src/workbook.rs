//! The parts of a workbook beside its sheets.

use crate::sheet::Ended;
use crate::styles::Styles;
use crate::text::escaped;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// The part `_rels/.rels`.
pub const PACKAGE: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;

/// What a sheet begins with.
pub const SHEET: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>
<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\">";

/// Where a sheet stands, counted from 1.
pub fn sheet(number: usize) -> String {
    format!("xl/worksheets/sheet{number}.xml")
}

/// Names and contents.
pub fn parts(sheets: &[Ended], styles: &Styles, from_1904: bool) -> [(&'static str, String); 4] {
    [
        ("xl/workbook.xml", book(sheets, from_1904)),
        ("xl/_rels/workbook.xml.rels", relations(sheets.len())),
        ("xl/styles.xml", styles.part()),
        ("[Content_Types].xml", types(sheets.len())),
    ]
}

fn book(sheets: &[Ended], from_1904: bool) -> String {
    let (mut list, mut names) = (String::new(), String::new());
    for (at, Ended { name, filter, header, .. }) in sheets.iter().enumerate() {
        let (number, shown) = (at + 1, escaped(name));
        list += &format!(r#"<sheet name="{shown}" sheetId="{number}" r:id="rId{number}"/>"#);
        let quoted = format!("'{}'", shown.replace('\'', "''"));
        if let Some(range) = filter {
            names += &format!(
                r#"<definedName name="_xlnm._FilterDatabase" localSheetId="{at}" hidden="1">{quoted}!{range}</definedName>"#
            );
        }
        if *header {
            names +=
                &format!(r#"<definedName name="_xlnm.Print_Titles" localSheetId="{at}">{quoted}!$1:$1</definedName>"#);
        }
    }
    let properties = if from_1904 { r#"<workbookPr date1904="1"/>"# } else { "" };
    let names = if names.is_empty() { names } else { format!("<definedNames>{names}</definedNames>") };
    format!(
        r#"{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">{properties}<bookViews><workbookView/></bookViews><sheets>{list}</sheets>{names}</workbook>"#
    )
}

fn relations(sheets: usize) -> String {
    let sheet = |number| {
        format!(
            r#"<Relationship Id="rId{number}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{number}.xml"/>"#
        )
    };
    let list: String = (1..=sheets).map(sheet).collect();
    let styles = sheets + 1;
    format!(
        r#"{HEAD}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{list}<Relationship Id="rId{styles}" Type="{RELATIONS}/styles" Target="styles.xml"/></Relationships>"#
    )
}

fn types(sheets: usize) -> String {
    const OF: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";
    let sheet = |number| format!(r#"<Override PartName="/{}" ContentType="{OF}.worksheet+xml"/>"#, self::sheet(number));
    let list: String = (1..=sheets).map(sheet).collect();
    format!(
        r#"{HEAD}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="{OF}.sheet.main+xml"/><Override PartName="/xl/styles.xml" ContentType="{OF}.styles+xml"/>{list}</Types>"#
    )
}
