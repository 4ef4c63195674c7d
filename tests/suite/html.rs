//! A small check of HTML: tags are balanced, nothing is loaded from elsewhere, nothing runs.

/// Elements that have no end tag in HTML.
const VOID: [&str; 6] = ["meta", "img", "br", "hr", "link", "input"];

/// Panics where `page` is not well-formed or asks for anything outside itself.
pub fn check(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{}", &page[..80]);
    let mut open: Vec<&str> = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    let mut links: Vec<&str> = Vec::new();
    // Behind the end there is one comment of ours at most, with nothing but a hash in it.
    let (page, seal) = page.split_once("\n<!-- cbp-fast-seal ").unwrap_or((page, " -->"));
    let hash = seal
        .trim_end()
        .strip_suffix("-->")
        .map(str::trim_end)
        .expect("a comment that ends the page");
    assert!(hash.chars().all(|c| c.is_ascii_hexdigit()), "{hash}");
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "a bare > in {:?}", &rest[..at]);
        let tag = tag_at(&rest[at..]);
        rest = &rest[at + tag.len()..];
        let inside = tag[1..tag.len() - 1].trim_end_matches('/');
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> ends another element");
            continue;
        }
        let name = inside.split(|c: char| c.is_whitespace()).next().unwrap();
        assert!(!["script", "link", "iframe", "object", "embed", "base"].contains(&name), "{tag}");
        for (attribute, value) in attributes(&inside[name.len()..]) {
            assert!(!attribute.starts_with("on"), "an event handler: {tag}");
            match attribute {
                "id" => ids.push(value),
                "href" | "xlink:href" => {
                    links.push(value.strip_prefix('#').unwrap_or_else(|| panic!("{tag}")))
                }
                "src" => assert!(value.starts_with("data:image/"), "{tag}"),
                _ => {}
            }
            assert!(!value.contains("url("), "{tag}");
        }
        if name == "style" {
            let end = rest.find("</style>").expect("a style without an end");
            let css = &rest[..end];
            assert!(!css.contains("url(") && !css.contains("@import"), "{css}");
            rest = &rest[end + "</style>".len()..];
        } else if !VOID.contains(&name) && !tag.ends_with("/>") {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "not ended: {open:?}");
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "an id twice: {ids:?}");
    for link in links {
        assert!(ids.contains(&link), "#{link} leads nowhere");
    }
}

/// The tag that `text` begins with; `>` inside quotes does not end it.
fn tag_at(text: &str) -> &str {
    let mut quoted = false;
    for (i, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return &text[..=i],
            _ => {}
        }
    }
    panic!("a tag without an end: {:?}", text.chars().take(60).collect::<String>());
}

/// `name="value"` pairs; a value without quotes is refused.
fn attributes(mut text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    while let Some(equals) = text.find('=') {
        let name = text[..equals].trim();
        let value = text[equals + 1..].strip_prefix('"').expect("a value without quotes");
        let end = value.find('"').expect("a value without an end");
        assert!(!value[..end].contains('<'), "{name}");
        found.push((name, &value[..end]));
        text = &value[end + 1..];
    }
    assert!(text.trim().is_empty(), "{text:?}");
    found
}

/// The text of a section by its anchor, tags included.
pub fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let start = page.find(&format!("<section id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}"));
    let end = page[start..].find("</section>").unwrap();
    &page[start..start + end]
}
