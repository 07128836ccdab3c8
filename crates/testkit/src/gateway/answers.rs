//! What a model answers, in the shapes of Anthropic's Messages, OpenAI's Responses and OpenAI's Chat Completions, each whole
//! or as a stream of server-sent events.

use serde_json::{Value, json};

use crate::provider::http::Response;

/// A call of one of the host's tools, which the model asks for in place of an answer.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The tool's name, as the host offers it.
    pub name: String,
    /// Its arguments.
    pub arguments: Value,
}

/// What the model says.
pub(super) enum Reply<'a> {
    Text(&'a str),
    Call(&'a ToolCall),
}

/// The interfaces of the paths that hosts use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Messages,
    Responses,
    ChatCompletions,
}

impl Api {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/v1/messages" => Some(Self::Messages),
            "/v1/responses" => Some(Self::Responses),
            "/v1/chat/completions" => Some(Self::ChatCompletions),
            _ => None,
        }
    }

    /// Whether a request offers the model this tool.
    pub(super) fn offers(self, body: &Value, tool: &str) -> bool {
        let tools = body["tools"].as_array().into_iter().flatten();
        tools
            .map(|offered| match self {
                Self::ChatCompletions => &offered["function"]["name"],
                Self::Messages | Self::Responses => &offered["name"],
            })
            .any(|name| name == tool)
    }

    /// The answer to `body`, as a stream where it asks for one.
    pub(super) fn answer(self, body: &Value, reply: &Reply<'_>) -> Response {
        let model = body["model"].as_str().unwrap_or("demo-large");
        let whole = match self {
            Self::Messages => message(model, reply),
            Self::Responses => response(model, reply),
            Self::ChatCompletions => completion(model, reply),
        };
        if body["stream"] != true {
            return Response::json(200, &whole);
        }
        let events = match self {
            Self::Messages => message_events(whole),
            Self::Responses => response_events(whole),
            Self::ChatCompletions => completion_chunks(&whole),
        };
        Response::new(200)
            .header("Content-Type", "text/event-stream")
            .header("Cache-Control", "no-store")
            .body(events)
    }
}

fn message(model: &str, reply: &Reply<'_>) -> Value {
    let (content, stop) = match reply {
        Reply::Text(text) => (json!({"type": "text", "text": text}), "end_turn"),
        Reply::Call(call) => (
            json!({"type": "tool_use", "id": "toolu_demo", "name": call.name, "input": call.arguments}),
            "tool_use",
        ),
    };
    json!({
        "id": "msg_demo",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [content],
        "stop_reason": stop,
        "stop_sequence": null,
        "usage": {"input_tokens": 1, "output_tokens": 8},
    })
}

fn message_events(mut whole: Value) -> String {
    let block = whole["content"][0].take();
    let stop = whole["stop_reason"].take();
    whole["content"] = json!([]);
    let (start, delta) = if block["type"] == "text" {
        (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": block["text"]}),
        )
    } else {
        let input = block["input"].to_string();
        let mut start = block;
        start["input"] = json!({});
        (
            start,
            json!({"type": "input_json_delta", "partial_json": input}),
        )
    };
    named(&[
        json!({"type": "message_start", "message": whole}),
        json!({"type": "content_block_start", "index": 0, "content_block": start}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": null},
            "usage": {"output_tokens": 8},
        }),
        json!({"type": "message_stop"}),
    ])
}

fn response(model: &str, reply: &Reply<'_>) -> Value {
    let item = match reply {
        Reply::Text(text) => json!({
            "type": "message",
            "id": "msg_demo",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }),
        Reply::Call(call) => json!({
            "type": "function_call",
            "id": "fc_demo",
            "call_id": "call_demo",
            "status": "completed",
            "name": call.name,
            "arguments": call.arguments.to_string(),
        }),
    };
    json!({
        "id": "resp_demo",
        "object": "response",
        "created_at": 1_750_000_000,
        "status": "completed",
        "model": model,
        "output": [item],
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 8,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 9,
        },
    })
}

fn response_events(whole: Value) -> String {
    let item = whole["output"][0].clone();
    let begun =
        json!({"id": "resp_demo", "object": "response", "status": "in_progress", "output": []});
    named(&[
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": whole}),
    ])
}

fn completion(model: &str, reply: &Reply<'_>) -> Value {
    let (message, finish) = match reply {
        Reply::Text(text) => (json!({"role": "assistant", "content": text}), "stop"),
        Reply::Call(call) => (
            json!({
                "role": "assistant",
                "content": null,
                "tool_calls": [{
                    "index": 0,
                    "id": "call_demo",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments.to_string()},
                }],
            }),
            "tool_calls",
        ),
    };
    json!({
        "id": "chatcmpl-demo",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 8, "total_tokens": 9},
    })
}

fn completion_chunks(whole: &Value) -> String {
    let choice = &whole["choices"][0];
    let chunk = |choices: Value, usage: Value| {
        json!({
            "id": whole["id"],
            "object": "chat.completion.chunk",
            "created": whole["created"],
            "model": whole["model"],
            "choices": choices,
            "usage": usage,
        })
    };
    let of = |delta: Value, finish: &Value| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        chunk(choices, Value::Null)
    };
    let chunks = [
        of(choice["message"].clone(), &Value::Null),
        of(json!({}), &choice["finish_reason"]),
        chunk(json!([]), whole["usage"].clone()),
    ];
    let lines = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    lines.chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// Events with their names, as both vendors' streams have them.
fn named(events: &[Value]) -> String {
    let one = |event: &Value| {
        let name = event["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n")
    };
    events.iter().map(one).collect()
}
