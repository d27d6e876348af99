/// What a worker passes on of a request that passes `RequestRules`: each field written anew in its known shape, under
/// the server's name for it. Members of messages and tools beyond these shapes say nothing to a model; they are left out
/// and named.
struct FieldFilter {
    let dialect: BackendDialect
    private(set) var dropped: [String] = []

    init(dialect: BackendDialect) { self.dialect = dialect }

    /// The member as the server gets it; nil if it isn't the server's.
    mutating func field(_ member: JSONTree.Member, of kind: InferenceKind) -> JSONTree.Member? {
        guard FieldTable.rule(member.key, kind)?.treatment == .passed else { return nil }
        let value: JSONTree =
            switch member.key {
            case "messages": messages(member.value)
            case "tools": tools(member.value)
            case "tool_choice": toolChoice(member.value)
            case "response_format": responseFormat(member.value)
            // vLLM refuses it, and means the same by the least number above it.
            case "top_p" where dialect == .vllm && member.value.real == 0: .number("0.000001")
            default: member.value
            }
        return .init(dialect.name(of: member.key), value)
    }

    private mutating func drop(_ path: String) {
        guard dropped.count < WorkerRequest.droppedMax else { return }
        let name = String(path.prefix(80))
        if !dropped.contains(name) { dropped.append(name) }
    }

    /// Keeps the members of an object that `allowed` lists; drops the rest by name.
    private mutating func members(
        _ value: JSONTree, at path: String, allowed: [String]
    ) -> [JSONTree.Member] {
        var kept: [JSONTree.Member] = []
        for member in value.members ?? [] where !member.value.isNull || member.key == "content" {
            if allowed.contains(member.key) { kept.append(member) } else { drop("\(path).\(member.key)") }
        }
        return kept
    }

    // MARK: Messages

    private static let messageMembers = [
        "role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content",
    ]

    private mutating func messages(_ value: JSONTree) -> JSONTree {
        var out: [JSONTree] = []
        for message in value.elements ?? [] {
            var kept = members(message, at: "messages[]", allowed: Self.messageMembers)
            for index in kept.indices {
                switch kept[index].key {
                case "content": kept[index].value = content(kept[index].value)
                case "tool_calls": kept[index].value = toolCalls(kept[index].value)
                default: break
                }
            }
            out.append(.object(kept))
        }
        return .array(out)
    }

    private func content(_ value: JSONTree) -> JSONTree {
        guard let parts = value.elements else { return value }
        let kept = parts.compactMap { part($0) }
        return kept.isEmpty ? .string("") : .array(kept)
    }

    private func part(_ part: JSONTree) -> JSONTree? {
        switch part["type"]?.text {
        case "text", "refusal":
            let text = part["text"]?.text ?? part["refusal"]?.text ?? ""
            return .object([.init("type", .string("text")), .init("text", .string(text))])
        case "image_url":
            let image = part["image_url"]
            var inner: [JSONTree.Member] = [
                .init("url", .string(image?["url"]?.text ?? image?.text ?? ""))
            ]
            if let detail = image?["detail"]?.text, detail.utf8.count <= 32 {
                inner.append(.init("detail", .string(detail)))
            }
            return .object([.init("type", .string("image_url")), .init("image_url", .object(inner))])
        default: return nil
        }
    }

    // MARK: Tools and formats

    private func toolCalls(_ value: JSONTree) -> JSONTree {
        .array(
            (value.elements ?? []).map { call in
                let function = call["function"]
                return .object([
                    .init("id", .string(call["id"]?.text ?? "")), .init("type", .string("function")),
                    .init(
                        "function",
                        .object([
                            .init("name", .string(function?["name"]?.text ?? "")),
                            .init("arguments", .string(function?["arguments"]?.text ?? "{}")),
                        ])),
                ])
            })
    }

    private mutating func tools(_ value: JSONTree) -> JSONTree {
        var out: [JSONTree] = []
        for tool in value.elements ?? [] {
            let kept = members(
                tool["function"] ?? .null, at: "tools[].function",
                allowed: ["name", "description", "parameters", "strict"])
            out.append(.object([.init("type", .string("function")), .init("function", .object(kept))]))
        }
        return .array(out)
    }

    private func toolChoice(_ value: JSONTree) -> JSONTree {
        guard let name = value["function"]?["name"] else { return value }
        return .object([
            .init("type", .string("function")), .init("function", .object([.init("name", name)])),
        ])
    }

    private mutating func responseFormat(_ value: JSONTree) -> JSONTree {
        let type = JSONTree.Member("type", value["type"] ?? .null)
        // LM Studio knows only schemas.
        if type.value.text == "json_object", dialect == .openAI {
            let any = JSONTree.object([.init("type", .string("object"))])
            return .object([
                .init("type", .string("json_schema")),
                .init("json_schema", .object([.init("name", .string("object")), .init("schema", any)])),
            ])
        }
        guard let schema = value["json_schema"], type.value.text == "json_schema" else {
            return .object([type])
        }
        let kept = members(
            schema, at: "response_format.json_schema", allowed: ["name", "description", "schema", "strict"])
        return .object([type, .init("json_schema", .object(kept))])
    }
}
