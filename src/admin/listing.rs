//! Lists as tools ask for them: filtered by name, sorted, a page of them, some columns.

use super::request::{Answer, Outcome, Refusal, Request, bad_page, bad_request};
use engine::pattern::Pattern;
use serde_json::{Map, Value as Json, json};
use std::cmp::Ordering;

/// Items of a page where the request does not say.
const PAGE_DEFAULT: usize = 100;
/// Most items of a page.
const PAGE_MAX: usize = 500;

struct Page {
    number: usize,
    size: usize,
}

fn page(request: &Request) -> Result<Option<Page>, Refusal> {
    let (number, size) = (request.parameter("page"), request.parameter("page_size"));
    let Some(number) = number.or(size.map(|_| "1")) else { return Ok(None) };
    let invalid = || {
        let size = size.unwrap_or("undefined");
        let text = format!("Invalid pagination parameters: page number {number}, page size {size}");
        bad_page("invalid_pagination_parameters", text)
    };
    let size = size.map_or(Ok(PAGE_DEFAULT), str::parse).map_err(|_| invalid())?;
    let number = number.parse().map_err(|_| invalid())?;
    if number < 1 || !(1..=PAGE_MAX).contains(&size) {
        Err(invalid())
    } else {
        Ok(Some(Page { number, size }))
    }
}

/// Answers with `items`: `name` is what a page's filter looks at, `show` makes JSON of those that are asked for. What costs
/// something to show is only asked of one page when that can be known before.
pub(super) async fn answer<T>(
    request: &Request,
    mut items: Vec<T>,
    name: impl Fn(&T) -> &str,
    show: impl AsyncFnOnce(Vec<T>) -> Vec<Json>,
) -> Outcome {
    let page = page(request)?;
    let total = items.len();
    if page.is_some()
        && let Some(wanted) = request.parameter("name").filter(|wanted| !wanted.is_empty())
    {
        filter(&mut items, wanted, request.flag("use_regex"), name)?;
    }
    let filtered = items.len();
    let sort = request.parameter("sort").filter(|column| !column.is_empty());
    let cut = |page: &Page| cut(page, filtered);
    let mut shown = match (&page, sort) {
        (Some(page), None) => {
            let (skip, take) = cut(page)?;
            show(items.into_iter().skip(skip).take(take).collect()).await
        }
        _ => show(items).await,
    };
    if let Some(column) = sort {
        shown.sort_by(|a, b| compare(at(a, column), at(b, column)));
        if request.flag("sort_reverse") {
            shown.reverse();
        }
        if let Some(page) = &page {
            let (skip, take) = cut(page)?;
            shown = shown.into_iter().skip(skip).take(take).collect();
        }
    }
    let items: Json = shown.into_iter().map(|item| columns(request, item)).collect();
    let Some(page) = page else { return Ok(Answer::Json(items)) };
    Ok(Answer::Json(json!({
        "filtered_count": filtered,
        "item_count": items.as_array().map_or(0, Vec::len),
        "items": items,
        "page": page.number,
        "page_count": filtered.div_ceil(page.size).max(1),
        "page_size": page.size,
        "total_count": total,
    })))
}

fn filter<T>(
    items: &mut Vec<T>,
    wanted: &str,
    regex: bool,
    name: impl Fn(&T) -> &str,
) -> Result<(), Refusal> {
    if regex {
        let pattern =
            Pattern::compile(wanted).map_err(|_| bad_request("Pagination parameters are invalid"))?;
        items.retain(|item| pattern.matches(name(item)));
    } else {
        let wanted = wanted.to_lowercase();
        items.retain(|item| name(item).to_lowercase().contains(&wanted));
    }
    Ok(())
}

/// How many to skip and to take. Errors: 400 for a page behind the last.
fn cut(page: &Page, len: usize) -> Result<(usize, usize), Refusal> {
    let skip = (page.number - 1).saturating_mul(page.size);
    if skip > 0 && skip >= len {
        let text = format!("Page out of range, page: {} page size: {}, len: {len}", page.number, page.size);
        return Err(bad_page("page_out_of_range", text));
    }
    Ok((skip, page.size))
}

/// A value by its dotted path.
fn at<'a>(json: &'a Json, path: &str) -> &'a Json {
    path.split('.').try_fold(json, |json, name| json.get(name)).unwrap_or(&Json::Null)
}

fn compare(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        (Json::String(a), Json::String(b)) => a.cmp(b),
        (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

fn rank(json: &Json) -> u8 {
    match json {
        Json::Null => 0,
        Json::Number(_) => 1,
        Json::Bool(_) => 2,
        Json::Object(_) => 3,
        Json::Array(_) => 4,
        Json::String(_) => 5,
    }
}

/// The columns of an object that the request names, or all of it.
pub(super) fn columns(request: &Request, item: Json) -> Json {
    let Some(wanted) = request.parameter("columns").filter(|wanted| !wanted.is_empty()) else { return item };
    let mut picked = Map::new();
    for column in wanted.split(',') {
        let value = at(&item, column);
        if !value.is_null() {
            put(&mut picked, column, value.clone());
        }
    }
    Json::Object(picked)
}

fn put(object: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => drop(object.insert(path.to_owned(), value)),
        Some((name, rest)) => {
            let inner = object.entry(name).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
