//! The routes and their description, which come from the same functions.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http as HttpSecurity, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, PathItem, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::Problem;
use super::{Shared, api, basic, metrics, reports};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "engine",
        description = "What the service is doing, and what it can be asked for. With tokens, send one as `Authorization: Bearer …`.",
        license(name = "Apache-2.0")
    ),
    components(schemas(Problem, api::letters::StatusWord)),
    tags(
        (name = "service", description = "What it is and how it is; of one pipeline where there are several: `?pipeline=name`"),
        (name = "pipelines", description = "Every pipeline"),
        (name = "runs", description = "What ran, runs and waits to"),
        (name = "deliveries", description = "What went where"),
        (name = "dead letters", description = "Records that were refused"),
        (name = "connections", description = "Named addresses"),
        (name = "reports", description = "Reports of a catalogue; without one there is nothing here")
    )
)]
struct Described;

/// What any question can be answered with.
const ALWAYS: [(StatusCode, &str); 10] = [
    (StatusCode::BAD_REQUEST, "The question is not well formed"),
    (StatusCode::UNAUTHORIZED, "A token is needed, and there is none or not a right one"),
    (StatusCode::FORBIDDEN, "The token does not allow it, or the request comes from a page of another site"),
    (StatusCode::REQUEST_TIMEOUT, "The request took too long"),
    (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers have more than 32 KiB"),
    (StatusCode::MISDIRECTED_REQUEST, "The service is not known by the name that was asked for"),
    (StatusCode::UNPROCESSABLE_ENTITY, "What was asked for is wrong, or what it is about"),
    (StatusCode::INTERNAL_SERVER_ERROR, "A bug of the engine"),
    (StatusCode::BAD_GATEWAY, "Something that the answer needs refuses the service"),
    (StatusCode::SERVICE_UNAVAILABLE, "The state cannot be read now, or the service stops"),
];
/// What a question with a body can be answered with besides.
const WITH_BODY: [(StatusCode, &str); 2] = [
    (StatusCode::PAYLOAD_TOO_LARGE, "The body has more than 1 MiB"),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not JSON"),
];

/// What an answer means that its route says nothing of.
const OTHERWISE: [(StatusCode, &str); 4] = [
    (StatusCode::OK, "What was asked for"),
    (StatusCode::ACCEPTED, "It has begun, and goes on after this answer"),
    (StatusCode::NOT_FOUND, "There is nothing of that name or number"),
    (StatusCode::UNPROCESSABLE_ENTITY, "What was asked for is wrong"),
];

/// Every route with its description.
pub(crate) fn routes() -> (Router<Arc<Shared>>, Document) {
    let (router, mut document) = OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(basic::about))
        .routes(routes!(basic::health))
        .routes(routes!(basic::status))
        .routes(routes!(basic::logs_answer))
        .routes(routes!(basic::trigger))
        .routes(routes!(metrics::metrics))
        .routes(routes!(api::pipelines::pipelines))
        .routes(routes!(api::pipelines::pipeline))
        .routes(routes!(api::pipelines::trigger))
        .routes(routes!(api::pipelines::pause))
        .routes(routes!(api::pipelines::unpause))
        .routes(routes!(api::pipelines::reload))
        .routes(routes!(api::runs::runs))
        .routes(routes!(api::runs::run))
        .routes(routes!(api::runs::cancel))
        .routes(routes!(api::runs::queue))
        .routes(routes!(api::deliveries::deliveries))
        .routes(routes!(api::deliveries::resend))
        .routes(routes!(api::letters::dead_letters))
        .routes(routes!(api::letters::dead_letter))
        .routes(routes!(api::letters::replay))
        .routes(routes!(api::letters::drop_letters))
        .routes(routes!(api::connections::connections))
        .routes(routes!(api::connections::check))
        .routes(routes!(reports::execute))
        .routes(routes!(reports::execution))
        .routes(routes!(reports::test_datasource))
        .routes(routes!(reports::test_delivery))
        .routes(routes!(reports::scheduler_status))
        .routes(routes!(reports::scheduler_reload))
        .routes(routes!(reports::scheduler_jobs))
        .routes(routes!(reports::scheduler_trigger))
        .split_for_parts();
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let with_body = operation.request_body.is_some();
        let more = if with_body { &WITH_BODY[..] } else { &[] };
        for (code, description) in ALWAYS.iter().chain(more) {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            let response =
                ResponseBuilder::new().description(*description).content("application/json", problem).build();
            operation.responses.responses.entry(code.as_u16().to_string()).or_insert_with(|| response.into());
        }
        for (code, description) in ALWAYS.iter().chain(&OTHERWISE) {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(code.as_str())
                && response.description.is_empty()
            {
                (*description).clone_into(&mut response.description);
            }
        }
    }
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(HttpSecurity::new(HttpAuthScheme::Bearer)));
    (router, document)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post].into_iter().filter_map(Option::as_mut)
}

/// The description itself. A token must be sent once there is one.
pub(crate) fn own_routes(document: &Document) -> Router<Arc<Shared>> {
    let token = SecurityRequirement::new::<_, _, String>("token", []);
    let with = |security| {
        let mut document = document.clone();
        document.security = Some(security);
        document.to_json().unwrap_or_default()
    };
    let open = with(vec![SecurityRequirement::default(), token.clone()]);
    let guarded = with(vec![token]);
    let answer = |State(shared): State<Arc<Shared>>| async move {
        json(if shared.tokens().list().is_empty() { open } else { guarded })
    };
    Router::new().route("/openapi.json", get(answer))
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
