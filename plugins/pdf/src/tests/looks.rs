//! What can only be seen: logos, charts, fonts of the user.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::*;
use crate::image::Image;

fn rows() -> RecordBatch {
    batch(&[
        ("city", texts(["Colombo", "Paris", "Oslo", "Colombo", "Lima", "Rome"])),
        ("day", days([20_512, 20_513, 20_540, 20_571, 20_571, 20_600])),
        ("amount", amounts([50_000, 20_000, 10_000, 5_000, 4_000, -3_000])),
    ])
}

/// A PNG picture; each row of pixels with another filter than the one before.
pub fn png(width: u32, height: u32, bits: u8, kind: u8, more: &[(&[u8; 4], &[u8])], rows: &[Vec<u8>]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    rows.iter().for_each(|row| packer.write_all(row).unwrap());
    let packed = packer.finish().unwrap();
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend_from_slice(&[bits, kind, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let all = [(b"IHDR", head.as_slice())].into_iter().chain(more.iter().copied());
    for (name, content) in all.chain([(b"IDAT", packed.as_slice()), (b"IEND", b"".as_slice())]) {
        out.extend_from_slice(&(content.len() as u32).to_be_bytes());
        out.extend_from_slice(name);
        out.extend_from_slice(content);
        // Nobody reads the sum of this test.
        out.extend_from_slice(&[0; 4]);
    }
    out
}

/// The colours of a page that are neither white nor grey.
fn colours(report: &Report, number: usize) -> Vec<[u8; 3]> {
    let (.., pixels) = report.picture(number);
    let mut found: Vec<[u8; 3]> = pixels
        .chunks_exact(3)
        .map(|it| [it[0], it[1], it[2]])
        .filter(|it| it.iter().max().unwrap() - it.iter().min().unwrap() > 150)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn with_logo(bytes: &[u8], name: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    let host = Host::in_folder(folder.path());
    Report::of(written(&host, json!({"logo": name, "title": "With a logo"}), vec![rows()]).unwrap())
}

#[test]
fn logos_of_every_kind_are_shown() {
    // A red square, 40 pixels wide.
    let line = |pixel: &[u8]| [vec![0], pixel.repeat(40)].concat();
    let plain = vec![line(&[255, 0, 0]); 40];
    let clear = vec![line(&[255, 0, 0, 255]); 40];
    let deep = vec![line(&[255, 255, 0, 0, 0, 0, 255, 255]); 40];
    let index = vec![line(&[1]); 40];
    let palette: &[u8] = &[0, 255, 0, 255, 0, 0];
    let pictures = [
        png(40, 40, 8, 2, &[], &plain),
        png(40, 40, 8, 6, &[], &clear),
        png(40, 40, 16, 6, &[], &deep),
        png(40, 40, 8, 3, &[(b"PLTE", palette)], &index),
        png(40, 40, 8, 3, &[(b"PLTE", palette), (b"tRNS", &[0, 255])], &index),
    ];
    for (at, picture) in pictures.iter().enumerate() {
        let found = colours(&with_logo(picture, "logo.png"), 1);
        assert!(found.contains(&[255, 0, 0]), "{at}: {found:?}");
    }
    // What is clear is not there.
    let hidden = vec![line(&[255, 0, 0, 0]); 40];
    assert_eq!(colours(&with_logo(&png(40, 40, 8, 6, &[], &hidden), "logo.png"), 1), [] as [[u8; 3]; 0]);
}

#[test]
fn filters_of_a_png_are_undone() {
    // A picture of one shade, stored with each filter: the same pixel, or none of a difference.
    let first = [vec![1, 255, 0, 0, 255], vec![0; 39 * 4]].concat();
    let rows: Vec<Vec<u8>> =
        (0..40).map(|at| if at == 0 { first.clone() } else { [vec![2], vec![0; 160]].concat() }).collect();
    assert!(colours(&with_logo(&png(40, 40, 8, 6, &[], &rows), "l.png"), 1).contains(&[255, 0, 0]));
    let paeth: Vec<Vec<u8>> =
        (0..40).map(|at| if at == 0 { first.clone() } else { [vec![4], vec![0; 160]].concat() }).collect();
    assert!(colours(&with_logo(&png(40, 40, 8, 6, &[], &paeth), "l.png"), 1).contains(&[255, 0, 0]));
}

#[test]
fn jpeg_logos_are_shown() {
    let red = with_logo(&png(40, 40, 8, 2, &[], &vec![[vec![0], [255, 0, 0].repeat(40)].concat(); 40]), "l.png");
    let place = red.folder.path().join("page").display().to_string();
    run("pdftoppm", "poppler-utils", &["-jpeg", "-r", "30", "-singlefile", &red.path(), &place]);
    let picture = std::fs::read(format!("{place}.jpg")).unwrap();
    let found = colours(&with_logo(&picture, "logo.jpg"), 1);
    assert!(!found.is_empty());
    for length in [picture.len() - 2, picture.len() / 2] {
        let error = Image::read(picture[..length].to_vec()).unwrap_err();
        assert!(error.contains("JPEG"), "{error}");
    }
    assert!(Image::read(picture[..picture.len() - 2].to_vec()).unwrap_err().contains("ends in its middle"));
}

#[test]
fn pictures_that_cannot_be_shown_are_refused() {
    let whole = png(2, 2, 8, 2, &[], &vec![vec![0; 7]; 2]);
    for (bytes, part) in [
        (b"GIF89a".to_vec(), "neither a PNG nor a JPEG"),
        (whole[..40].to_vec(), "ends in its middle"),
        (png(2, 2, 8, 2, &[], &[vec![0; 5]]), "damaged"),
        (png(90_000, 90_000, 8, 2, &[], &[]), "too many"),
        (png(4_000, 4_000, 16, 6, &[], &[]), "122 MiB, unpacked, and 64 is the most"),
        (png(2, 2, 8, 3, &[], &vec![vec![0; 3]; 2]), "palette"),
        (png(2, 2, 7, 2, &[], &[]), "of a kind"),
        (b"\xff\xd8\xff\xda\0\x02".to_vec(), "no JPEG"),
    ] {
        let error = Image::read(bytes).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn bars_have_names_and_values_and_the_rest_is_one() {
    let config = json!({
        "chart": {"type": "bar", "x": "city", "y": "amount", "top": 2, "others_label": "Elsewhere"},
        "formats": {"amount": "#,##0"}, "columns": ["day"],
    });
    let report = report(config, vec![rows()]);
    let text = report.text();
    for line in [["Colombo", "550"], ["Paris", "200"], ["Elsewhere", "110"]] {
        assert!(text.lines().any(|it| line.iter().all(|part| it.contains(part))), "{line:?} is not in:\n{text}");
    }
    assert!(text.contains("amount · city") && !text.contains("Oslo"), "{text}");
}

#[test]
fn what_has_an_order_is_shown_in_it() {
    for kind in ["bar", "line"] {
        let config = json!({
            "chart": {"type": kind, "x": "day", "y": "amount", "title": "By month"},
            "formats": {"day": "mmm yyyy"}, "columns": ["city"], "accent": "#c00000",
        });
        let report = report(config, vec![rows()]);
        let text = report.text();
        let place = |month: &str| text.find(month).unwrap_or_else(|| panic!("{month} is not in:\n{text}"));
        assert!(place("Feb 2026") < place("Mar 2026") && place("Mar 2026") < place("Apr 2026"), "{text}");
        assert!(text.contains("By month"));
        assert!(colours(&report, 1).iter().any(|it| it[0] > 150 && it[1] < 80), "{kind}");
    }
}

#[test]
fn a_chart_of_too_many_values_says_so() {
    let names: Vec<String> = (0..10_050).map(|at| format!("n{at}")).collect();
    let rows = batch(&[("name", texts(names.iter().map(String::as_str))), ("n", integers(0..10_050))]);
    let host = Host::new();
    let config = json!({"chart": {"type": "bar", "x": "name", "y": "n", "total": "count"}, "columns": ["n"]});
    let report = Report::of(written(&host, config, vec![rows]).unwrap());
    assert!(host.log().iter().any(|(_, message)| message.contains("50 rows had others")), "{:?}", host.log());
    assert!(report.page(1).contains("10,040"), "{}", report.page(1));
}

#[test]
fn a_family_of_the_user_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    let font: &[u8] = include_bytes!("../../fonts/NotoSansTamil-Regular.ttf");
    std::fs::write(folder.path().join("deep/own.ttf"), font).unwrap();
    std::fs::write(folder.path().join("broken.ttf"), &font[..500]).unwrap();
    std::fs::write(folder.path().join("no-font.otf"), b"OTTO").unwrap();
    let host = Host::in_folder(folder.path());
    let config = json!({"fonts": ".", "font": "noto sans tamil"});
    let report = Report::of(written(&host, config, vec![batch(&[("n", texts(["தமிழ் 12"]))])]).unwrap());
    // One that was read from the folder, and no other for what it has.
    assert!(report.text().contains("தமிழ் 12"), "{}", report.text());
    assert!(report.fonts().iter().any(|line| line.contains("NotoSansTamil")), "{:?}", report.fonts());
}
