//! Texts of many scripts: they are found as they were written, and the fonts are in the file.

use super::*;

const SCRIPTS: [(&str, &str); 9] = [
    ("Latin", "Zoë Müller, Łódź — café ½ €"),
    ("Cyrillic", "Отчёт о продажах"),
    ("Greek", "Αναφορά πωλήσεων"),
    ("Arabic", "تقرير المبيعات للربع الأول"),
    ("Arabic with marks", "السَّلَام"),
    ("Devanagari", "बिक्री रिपोर्ट क्षेत्र हिन्दी"),
    ("Sinhala", "විකුණුම් වාර්තාව ශ්‍රී ලංකා"),
    ("Tamil", "விற்பனை அறிக்கை கொழும்பு"),
    ("Vietnamese", "Báo cáo doanh số tiếng Việt"),
];

#[test]
fn every_script_is_found_as_it_was_written() {
    let names = SCRIPTS.map(|(name, _)| name);
    let samples = SCRIPTS.map(|(_, sample)| sample);
    let report = report(json!({}), vec![batch(&[("script", texts(names)), ("sample", texts(samples))])]);
    let text = report.text();
    for (name, sample) in SCRIPTS {
        assert!(text.contains(sample), "{name}: {sample} is not in:\n{text}");
    }
}

#[test]
fn words_with_marks_are_found_in_one_piece() {
    // Signs above and below letters, whose places are far from where they were drawn from.
    let words = [
        "देश",
        "देर",
        "देन",
        "देहरादून",
        "केन",
        "केवल",
        "कुछ",
        "फूल",
        "मुंबई",
        "बेंगलुरु",
        "न्देन",
        "கொழும்பு",
        "கூட",
        "கேள்வி",
        "සේවා",
        "වෙළඳ",
        "කුරුණෑගල",
        "مُحَمَّد",
        "شركة",
        "e\u{304}x",
    ];
    let report = report(json!({}), vec![batch(&[("word", texts(words)), ("n", integers(0..words.len() as i64))])]);
    let text = report.text();
    for word in words {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
}

#[test]
fn every_font_is_inside_of_the_file_and_can_be_searched() {
    let samples = SCRIPTS.map(|(_, sample)| sample);
    let report = report(json!({"title": "All scripts"}), vec![batch(&[("sample", texts(samples))])]);
    let fonts = report.fonts();
    for name in [
        "NotoSans-Regular",
        "NotoSans-Bold",
        "NotoSansArabic",
        "NotoSansDevanagari",
        "NotoSansSinhala",
        "NotoSansTamil",
    ] {
        let line = fonts.iter().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {fonts:?}"));
        // Embedded, a part of the font, with what its shapes stand for.
        assert!(line.contains("yes yes yes"), "{line}");
    }
    assert!(report.bytes.len() < 100_000, "{}", report.bytes.len());
}

#[test]
fn scripts_can_be_mixed_in_a_cell() {
    let mixed = [
        "Invoice 2026-17 فاتورة paid",
        "العميل Acme Ltd دفع 1,250.00",
        "සිංහල Tamil தமிழ் हिन्दी Ελλάδα",
        "Total (المجموع): 42",
    ];
    let report = report(json!({}), vec![batch(&[("n", integers(1..=4)), ("text", texts(mixed))])]);
    let text = squeezed(&report.text());
    for word in ["Invoice2026-17", "فاتورة", "paid", "AcmeLtd", "العميل", "دفع", "1,250.00", "සිංහල", "தமிழ்", "हिन्दी"]
    {
        assert!(text.contains(word), "{word} is not in:\n{}", report.text());
    }
}

#[test]
fn long_texts_of_every_script_are_wrapped_and_stay_whole() {
    let long: Vec<String> = SCRIPTS.iter().map(|(_, sample)| [*sample; 30].join(" ")).collect();
    let rows = batch(&[("text", texts(long.iter().map(String::as_str))), ("n", integers(0..9))]);
    let report = report(json!({"orientation": "portrait", "widths": {"text": 30}}), vec![rows]);
    let text = report.text();
    for (name, sample) in SCRIPTS {
        for word in sample.split(' ') {
            let count = text.matches(word).count();
            assert!(count >= 30, "{name}: {word} is there {count} times in:\n{text}");
        }
    }
}

#[test]
fn titles_and_totals_of_scripts_without_bold_letters_are_found() {
    let config = json!({
        "title": "මාසික විකුණුම් වාර්තාව", "subtitle": "تقرير شهري", "titles": {"n": "எண்ணிக்கை"},
        "parameters": {"क्षेत्र": "पश्चिम"}, "totals": {"n": "sum"}, "total_label": "එකතුව",
        "page_number": "Сторінка {page} з {pages}",
    });
    let report = report(config, vec![batch(&[("text", texts(["a", "b"])), ("n", integers([1, 2]))])]);
    let text = report.text();
    for part in ["මාසික විකුණුම් වාර්තාව", "تقرير شهري", "எண்ணிக்கை", "क्षेत्र:", "पश्चिम", "එකතුව", "Сторінка 1 з 1"]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert_eq!(report.info("Title").unwrap(), "මාසික විකුණුම් වාර්තාව");
}

#[test]
fn characters_that_no_font_has_are_told_once_and_are_still_found() {
    let host = Host::new();
    // Letters of a private area have no shape anywhere.
    let rows = batch(&[
        ("note", texts(["one \u{10fff0}", "two \u{10fff0}\u{10fff0}", "\u{10fff1}"])),
        ("name", texts(["\u{10fff0}", "b", "c"])),
    ]);
    let report = Report::of(written(&host, json!({}), vec![rows]).unwrap());
    let log = host.log();
    assert_eq!(log.len(), 2, "{log:?}");
    let (level, message) = &log[0];
    assert_eq!(*level, Level::Warn as i32);
    for part in ["U+10FFF0", "3 in column `note`", "1 in column `name`", "`fonts`"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(log[1].1.contains("U+10FFF1"));
    assert!(report.text().contains("two \u{10fff0}\u{10fff0}"), "{}", report.text());
}

#[test]
fn whatever_stands_in_a_cell_the_report_is_valid() {
    let mut random = Random(7);
    let ranges = [
        (0x20, 0x7f),
        (0, 0x2ff),
        (0x300, 0x36f),
        (0x590, 0x6ff),
        (0x900, 0x97f),
        (0xb80, 0xbff),
        (0xd80, 0xdff),
        (0x2000, 0x206f),
        (0x4e00, 0x4e40),
        (0xfe00, 0xfeff),
        (0x1f600, 0x1f640),
        (0xe0000, 0xe0080),
    ];
    let mut any = || -> String {
        let count = random.below(60);
        (0..count)
            .filter_map(|_| {
                let (first, last) = ranges[random.below(12) as usize];
                char::from_u32(first + random.below(u64::from(last - first)) as u32)
            })
            .collect()
    };
    let column = |any: &mut dyn FnMut() -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..300).map(|_| any())))
    };
    let rows = batch(&[("a", column(&mut any)), ("b", column(&mut any)), ("c", column(&mut any))]);
    let report = report(json!({"title": any(), "description": any(), "totals": {"b": "count"}}), vec![rows]);
    assert!(report.pages() > 1);
}
