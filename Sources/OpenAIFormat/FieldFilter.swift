/// The list of fields that a worker passes on, with the shape that each must have. A field of another shape
/// is dropped like an unknown one, because the server would have to guess its meaning.
struct FieldFilter {
    /// Limit for the messages, tools, stops or parts of one request: more is refused or dropped.
    static let listMax = 4_096
    static let logitBiasMax = 1_024

    let dialect: BackendDialect
    private(set) var dropped: [String] = []

    init(dialect: BackendDialect) { self.dialect = dialect }

    /// Returns the member's value as it may be passed on. Returns nil, and records the name, if it is
    /// dropped.
    mutating func field(
        _ member: JSONTree.Member, of kind: InferenceKind
    ) throws(WorkerRequestError) -> JSONTree? {
        let value = member.value
        let kept: JSONTree? =
            switch (kind, member.key) {
            case (.embedding, "input"): try input(value, named: "input")
            case (.embedding, "dimensions"): number(value)
            case (.embedding, _): nil
            case (.chat, "messages"): try messages(value)
            case (.completion, "prompt"): try input(value, named: "prompt")
            case (_, "temperature"), (_, "top_p"), (_, "presence_penalty"), (_, "frequency_penalty"),
                (_, "seed"):
                number(value)
            case (_, "n"): try choices(value)
            case (_, "stop"): stop(value)
            case (_, "logit_bias"): logitBias(value)
            case (.chat, "logprobs"): value.flag == nil ? nil : value
            case (.chat, "top_logprobs"), (.completion, "logprobs"): (value.whole ?? 21) <= 20 ? value : nil
            case (.chat, "response_format"): responseFormat(value)
            case (.chat, "tools"): tools(value)
            case (.chat, "tool_choice"): toolChoice(value)
            case (.chat, "parallel_tool_calls"): value.flag == nil ? nil : value
            case (.chat, "reasoning_effort"), (.chat, "verbosity"): word(value)
            case (.completion, "suffix"): value.text == nil ? nil : value
            case (_, let name) where dialect.extraNumbers.contains(name): number(value)
            default: nil
            }
        if kept == nil { drop(member.key) }
        return kept
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

    // MARK: Plain shapes

    private func number(_ value: JSONTree) -> JSONTree? { value.real == nil ? nil : value }

    /// A short word, such as the level `low`.
    private func word(_ value: JSONTree) -> JSONTree? {
        (value.text?.utf8.count ?? 100) <= 32 ? value : nil
    }

    private func choices(_ value: JSONTree) throws(WorkerRequestError) -> JSONTree? {
        guard let n = value.whole, n >= 1, n <= WorkerRequest.choicesMax else {
            throw .malformed("`n` must be 1 to \(WorkerRequest.choicesMax).")
        }
        return value
    }

    private func stop(_ value: JSONTree) -> JSONTree? {
        if value.text != nil { return value }
        guard let stops = value.elements, stops.count <= 16, stops.allSatisfy({ $0.text != nil }) else {
            return nil
        }
        return value
    }

    private func logitBias(_ value: JSONTree) -> JSONTree? {
        guard let biases = value.members, biases.count <= Self.logitBiasMax,
            biases.allSatisfy({ $0.value.real != nil && UInt32($0.key) != nil })
        else { return nil }
        return value
    }

    /// Accepts text, token ids, or a list of either.
    private func input(_ value: JSONTree, named name: String) throws(WorkerRequestError) -> JSONTree? {
        func isIDs(_ value: JSONTree) -> Bool { value.elements?.allSatisfy { $0.whole != nil } ?? false }
        if value.text != nil || isIDs(value) { return value }
        guard let list = value.elements, list.count <= Self.listMax,
            list.allSatisfy({ $0.text != nil }) || list.allSatisfy(isIDs)
        else { throw .malformed("`\(name)` must be text, token ids or a list of them.") }
        return value
    }

    // MARK: Messages

    private static let roles = ["system", "developer", "user", "assistant", "tool", "function"]

    private mutating func messages(_ value: JSONTree) throws(WorkerRequestError) -> JSONTree {
        guard let list = value.elements, !list.isEmpty, list.count <= Self.listMax else {
            throw .malformed("`messages` must be a list of 1 to \(Self.listMax) messages.")
        }
        var out: [JSONTree] = []
        for message in list {
            guard let role = message["role"]?.text, Self.roles.contains(role) else {
                throw .malformed("A message's `role` must be one of \(Self.roles.joined(separator: ", ")).")
            }
            var kept = members(
                message, at: "messages[]",
                allowed: ["role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content"])
            for index in kept.indices {
                switch kept[index].key {
                case "content": kept[index].value = try content(kept[index].value)
                case "tool_calls": kept[index].value = toolCalls(kept[index].value)
                default:
                    guard kept[index].value.text != nil else {
                        throw .malformed("A message's `\(kept[index].key)` must be text.")
                    }
                }
            }
            out.append(.object(kept))
        }
        return .array(out)
    }

    private mutating func content(_ value: JSONTree) throws(WorkerRequestError) -> JSONTree {
        if value.text != nil || value.isNull { return value }
        guard let parts = value.elements, parts.count <= Self.listMax else {
            throw .malformed("A message's `content` must be text or a list of parts.")
        }
        let kept = parts.compactMap { part($0) }
        return kept.isEmpty ? .string("") : .array(kept)
    }

    private mutating func part(_ part: JSONTree) -> JSONTree? {
        let type = part["type"]?.text ?? ""
        switch type {
        case "text":
            guard let text = part["text"]?.text else { break }
            return .object([.init("type", .string("text")), .init("text", .string(text))])
        case "image_url", "video_url", "audio_url":
            let medium = part[type]
            let url = medium?["url"]?.text ?? medium?.text ?? ""
            guard url.hasPrefix("data:\(type.prefix(5))/") else {
                drop("messages[].content[].\(type)")
                return nil
            }
            var inner: [JSONTree.Member] = [.init("url", .string(url))]
            if let detail = medium?["detail"], let detail = word(detail) {
                inner.append(.init("detail", detail))
            }
            return .object([.init("type", .string(type)), .init(type, .object(inner))])
        case "input_audio":
            guard let audio = part[type], let data = audio["data"]?.text, let format = audio["format"],
                let format = word(format), data.utf8.allSatisfy(Self.isBase64)
            else { break }
            return .object([
                .init("type", .string(type)),
                .init(type, .object([.init("data", .string(data)), .init("format", format)])),
            ])
        default: break
        }
        drop("messages[].content[].\(type)")
        return nil
    }

    private static func isBase64(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
            true
        default: false
        }
    }

    // MARK: Tools and formats

    private mutating func toolCalls(_ value: JSONTree) -> JSONTree {
        .array(
            (value.elements ?? []).prefix(Self.listMax).compactMap { call in
                guard let function = call["function"], let name = function["name"]?.text else { return nil }
                let arguments = function["arguments"]?.text ?? "{}"
                return .object([
                    .init("id", .string(call["id"]?.text ?? "")), .init("type", .string("function")),
                    .init(
                        "function",
                        .object([.init("name", .string(name)), .init("arguments", .string(arguments))])),
                ])
            })
    }

    private mutating func tools(_ value: JSONTree) -> JSONTree? {
        guard let list = value.elements, list.count <= 128 else { return nil }
        var out: [JSONTree] = []
        for tool in list {
            guard tool["type"]?.text == "function", let function = tool["function"],
                function["name"]?.text != nil,
                isLocal(function["parameters"] ?? .null)
            else { return nil }
            let kept = members(
                function, at: "tools[].function", allowed: ["name", "description", "parameters", "strict"])
            out.append(.object([.init("type", .string("function")), .init("function", .object(kept))]))
        }
        return .array(out)
    }

    private func toolChoice(_ value: JSONTree) -> JSONTree? {
        if value.text != nil { return word(value) }
        guard value["type"]?.text == "function", let name = value["function"]?["name"]?.text else {
            return nil
        }
        return .object([
            .init("type", .string("function")), .init("function", .object([.init("name", .string(name))])),
        ])
    }

    private mutating func responseFormat(_ value: JSONTree) -> JSONTree? {
        switch value["type"]?.text {
        case "text": return .object([.init("type", .string("text"))])
        case "json_object": return .object([.init("type", .string("json_object"))])
        case "json_schema":
            guard let schema = value["json_schema"], schema.members != nil, isLocal(schema) else {
                return nil
            }
            let kept = members(
                schema, at: "response_format.json_schema",
                allowed: ["name", "description", "schema", "strict"])
            return .object([.init("type", .string("json_schema")), .init("json_schema", .object(kept))])
        default: return nil
        }
    }

    /// Whether every `$ref` of a schema stays inside the document.
    private func isLocal(_ value: JSONTree) -> Bool {
        switch value {
        case .array(let elements): elements.allSatisfy(isLocal)
        case .object(let members):
            members.allSatisfy { member in
                if member.key == "$ref", let target = member.value.text { return target.hasPrefix("#") }
                return isLocal(member.value)
            }
        default: true
        }
    }
}
