import Primitives

/// Reads a request by the table of fields: what it needs of a model server, and the first thing in it that isn't
/// passed on. The gateway and the worker apply the same rules, so that the client is told before a seller is asked.
public struct RequestRules {
    let kind: InferenceKind
    let limits: RequestLimits
    /// Fields beyond the table that the owner of this node lets through.
    let extraFields: [String]
    private(set) var needs: Abilities = []
    /// Bytes that a model server reads beside the prompt, and that its count of prompt tokens doesn't show: schemas, stops
    /// and biases. They are priced as input.
    private(set) var besideBytes = 0
    private var schemaValues = 0
    private var images = 0
    private var imageBytes = 0

    /// Roles that a message may have.
    static let roles = ["system", "developer", "user", "assistant", "tool"]
    /// Messages, parts, prompts or tokens in one list.
    static let listMax = 4_096
    static let toolsMax = 128

    /// Throws the error to send to the client, with the path of the field.
    init(
        _ request: JSONTree, _ kind: InferenceKind, limits: RequestLimits, extraFields: [String] = []
    ) throws(ErrorBody) {
        self.kind = kind
        self.limits = limits
        self.extraFields = extraFields
        switch kind {
        case .chat: needs.insert(.chat)
        case .completion: needs.insert(.completion)
        case .embedding: needs.insert(.embedding)
        }
        for member in request.members ?? [] where !member.value.isNull {
            try check(member, of: request)
        }
        guard needs.contains(.assistantLast), !needs.isDisjoint(with: [.tools, .jsonSchema]) else { return }
        let name = needs.contains(.tools) ? "tools" : "response_format"
        throw refused(
            name, "can't be combined with a last message of the assistant, which is continued as text.")
    }

    private mutating func check(_ member: JSONTree.Member, of request: JSONTree) throws(ErrorBody) {
        let (name, value) = (member.key, member.value)
        guard let rule = FieldTable.rule(name, kind) else {
            if extraFields.contains(name) { return }
            let known = FieldTable.rules(kind).filter { $0.treatment != .refused }.map(\.name)
            let meant = Nearest.match(name, in: known).map { " Did you mean `\($0)`?" } ?? ""
            throw .invalid(
                "`\(name)` is no field of this API.\(meant)", param: name, code: "unknown_parameter")
        }
        if rule.treatment == .refused {
            guard Self.isNeutral(name, value, of: request) else {
                throw .invalid(
                    "`\(name)` isn't offered: \(rule.note).", param: name, code: "unsupported_parameter")
            }
            return
        }
        if let problem = rule.shape.problem(value) {
            // A word of the right type is one that OpenAI may know.
            let isWord: Bool = if case .word = rule.shape { value.text != nil } else { false }
            throw .invalid(
                "`\(name)` must be \(problem).", param: name,
                code: isWord ? "unsupported_value" : "invalid_value")
        }
        try checkMeaning(name, value, of: request)
    }

    /// Whether a refused field says what is so without it.
    private static func isNeutral(_ name: String, _ value: JSONTree, of request: JSONTree) -> Bool {
        switch value {
        case .null, .bool(false), .string(""), .array([]), .object([]): true
        // As many as are returned: nothing is chosen.
        case .number where name == "best_of": value.whole == request["n"]?.whole ?? 1
        case .string("none") where name == "function_call": true
        default: false
        }
    }

    private mutating func checkMeaning(
        _ name: String, _ value: JSONTree, of request: JSONTree
    ) throws(ErrorBody) {
        switch name {
        case "messages": try checkMessages(value)
        case "prompt":
            try checkInput(value, name)
            if let prompts = value.elements, prompts.count > 1, prompts.contains(where: { $0.real == nil }) {
                needs.insert(.prompts)
                guard UInt64(prompts.count) * min(request["n"]?.whole ?? 1, 128) <= ClientRequest.choicesMax
                else {
                    throw .over(
                        "prompt",
                        "asks for more than \(ClientRequest.choicesMax) answers; send several requests.")
                }
            }
        case "input":
            try checkInput(value, name)
            guard value.text != "", value.elements?.contains(.string("")) != true else {
                throw .invalid("`input` has an empty text, which no server embeds.", param: name)
            }
        case "n": if value.whole != 1 { needs.insert(.choices) }
        case "logprobs": if value != .bool(false) { needs.insert(.logprobs) }
        case "top_logprobs":
            if value.whole != 0, request["logprobs"]?.flag != true {
                throw .invalid("`top_logprobs` needs `logprobs: true`.", param: name)
            }
        case "top_k", "min_p", "repetition_penalty": needs.insert(.sampling)
        case "repeat_penalty":
            needs.insert(.sampling)
            guard request["repetition_penalty"] ?? .null == .null else {
                throw refused(name, "is the same as `repetition_penalty`: send one of them.")
            }
        case "dimensions": needs.insert(.dimensions)
        case "logit_bias": try checkBiases(value)
        case "stop": try checkStops(value)
        case "tools": try checkTools(value)
        case "tool_choice": try checkToolChoice(value, of: request)
        case "response_format": try checkFormat(value)
        case "stream_options": try checkStreamOptions(value)
        case "modalities":
            guard value.elements?.allSatisfy({ $0.text == "text" }) == true else {
                throw refused(name, "must be [\"text\"]: no seller speaks or draws.")
            }
        default: break
        }
    }

    private func refused(_ path: String, _ words: String) -> ErrorBody {
        .invalid("`\(path)` \(words)", param: path, code: "unsupported_value")
    }

    /// Text, token ids, or a list of either.
    private func checkInput(_ value: JSONTree, _ name: String) throws(ErrorBody) {
        func isIDs(_ value: JSONTree) -> Bool {
            value.elements.map { !$0.isEmpty && $0.allSatisfy(\.isTokenID) } ?? false
        }
        if value.text != nil || isIDs(value) { return }
        let list = value.elements ?? []
        guard !list.isEmpty, list.allSatisfy({ $0.text != nil }) || list.allSatisfy(isIDs) else {
            throw .invalid(
                "`\(name)` must be text, token ids, or a list of either, and not empty.", param: name)
        }
        guard list.count <= Self.listMax else { throw .over(name, "holds more than \(Self.listMax) texts.") }
    }

    // MARK: Small fields

    private mutating func checkBiases(_ value: JSONTree) throws(ErrorBody) {
        guard let biases = value.members, !biases.isEmpty else { return }
        guard biases.count <= limits.logitBiases else {
            throw .over(
                "logit_bias", "holds \(biases.count) tokens; at most \(limits.logitBiases) are allowed.")
        }
        for bias in biases {
            guard UInt32(bias.key) != nil, let weight = bias.value.real, abs(weight) <= 100 else {
                throw .invalid(
                    "`logit_bias` must hold token ids with numbers from -100 to 100.", param: "logit_bias")
            }
        }
        needs.insert(.logitBias)
        besideBytes += value.bytes.count
    }

    private mutating func checkStops(_ value: JSONTree) throws(ErrorBody) {
        guard let stops = value.text.map({ [$0] }) ?? value.elements.map({ $0.compactMap(\.text) }),
            stops.count == value.elements?.count ?? 1
        else { throw .invalid("`stop` must be text or a list of texts.", param: "stop") }
        let bytes = stops.reduce(0) { $0 + $1.utf8.count }
        guard stops.count <= limits.stops, bytes <= limits.stopBytes else {
            throw .over(
                "stop",
                "holds \(stops.count) texts of \(bytes) bytes; at most \(limits.stops) of \(limits.stopBytes) together are allowed."
            )
        }
        besideBytes += bytes
    }

    private func checkStreamOptions(_ value: JSONTree) throws(ErrorBody) {
        for member in value.members ?? [] where !member.value.isNull {
            let path = "stream_options.\(member.key)"
            switch member.key {
            case "include_usage":
                guard member.value.flag != nil else {
                    throw .invalid("`\(path)` must be true or false.", param: path)
                }
            case "include_obfuscation":
                guard member.value.flag == false else { throw refused(path, "can only be false.") }
            default:
                throw .invalid("`\(path)` is no field of this API.", param: path, code: "unknown_parameter")
            }
        }
    }

    // MARK: Messages

    private mutating func checkMessages(_ value: JSONTree) throws(ErrorBody) {
        guard let messages = value.elements else {
            throw .invalid("`messages` must be a list of messages.", param: "messages")
        }
        guard !messages.isEmpty else {
            throw .invalid("`messages` is empty: there is nothing to answer.", param: "messages")
        }
        guard messages.count <= Self.listMax else {
            throw .over("messages", "holds more than \(Self.listMax) messages.")
        }
        for (index, message) in messages.enumerated() {
            try checkMessage(message, "messages[\(index)]")
        }
        guard messages.last?["role"]?.text == "assistant" else { return }
        guard messages.last?["content"]?.text != nil else {
            throw refused(
                "messages[\(messages.count - 1)]",
                "is the assistant's, to be continued: its `content` must be text.")
        }
        needs.insert(.assistantLast)
    }

    private mutating func checkMessage(_ message: JSONTree, _ path: String) throws(ErrorBody) {
        guard message.members != nil else { throw .invalid("`\(path)` must be an object.", param: path) }
        guard let role = message["role"]?.text else {
            throw .invalid("`\(path).role` must be text, such as \"user\".", param: "\(path).role")
        }
        guard Self.roles.contains(role) else {
            throw refused(
                "\(path).role",
                "must be \(Nearest.list(Self.roles)), not \(Printable.quoted(String(role.prefix(32)))).")
        }
        try checkContent(message["content"] ?? .null, "\(path).content")
        for name in ["name", "tool_call_id", "reasoning_content"] {
            if let value = message[name], !value.isNull, value.text == nil {
                throw .invalid("`\(path).\(name)` must be text.", param: "\(path).\(name)")
            }
        }
        // What an assistant's message says in these would be lost.
        for name in ["function_call", "audio"] {
            if let value = message[name], !value.isNull {
                throw refused(
                    "\(path).\(name)",
                    "isn't passed on: \(name == "audio" ? "write what was said as text" : "use `tool_calls`")."
                )
            }
        }
        try checkCalls(message["tool_calls"] ?? .null, "\(path).tool_calls")
    }

    private func checkCalls(_ value: JSONTree, _ path: String) throws(ErrorBody) {
        guard !value.isNull else { return }
        guard let calls = value.elements, calls.count <= Self.toolsMax else {
            throw .invalid("`\(path)` must be a list of at most \(Self.toolsMax) calls.", param: path)
        }
        for (index, call) in calls.enumerated() {
            let path = "\(path)[\(index)]"
            if let type = call["type"], type.text != "function" {
                throw refused("\(path).type", "must be function: only functions are passed on.")
            }
            guard call["function"]?["name"]?.text != nil else {
                throw .invalid("`\(path).function.name` must be text.", param: "\(path).function.name")
            }
        }
    }

    private mutating func checkContent(_ content: JSONTree, _ path: String) throws(ErrorBody) {
        switch content {
        case .null, .string: return
        case .array(let parts):
            guard parts.count <= Self.listMax else {
                throw .over(path, "holds more than \(Self.listMax) parts.")
            }
            for (index, part) in parts.enumerated() { try checkPart(part, "\(path)[\(index)]") }
        case .bool, .number, .object:
            throw .invalid("`\(path)` must be text or a list of parts.", param: path)
        }
    }

    private mutating func checkPart(_ part: JSONTree, _ path: String) throws(ErrorBody) {
        guard let type = part["type"]?.text else {
            throw .invalid("`\(path).type` must be text.", param: "\(path).type")
        }
        switch type {
        // A refusal is what an assistant said before.
        case "text", "refusal":
            guard part[type]?.text != nil else {
                throw .invalid("`\(path).\(type)` must be text.", param: "\(path).\(type)")
            }
        case "image_url":
            let url = part[type]?["url"]?.text ?? part[type]?.text ?? ""
            guard url.hasPrefix("data:image/") else {
                throw refused(
                    "\(path).image_url",
                    "must be a `data:image/…` URL: sellers fetch no addresses. Send the picture itself.")
            }
            needs.insert(.images)
            images += 1
            imageBytes += url.utf8.count
            guard images <= limits.images, imageBytes <= limits.imageBytes else {
                throw .over(
                    "\(path).image_url",
                    "is one image too many or too large; at most \(limits.images) of \(limits.imageBytes) bytes together are allowed."
                )
            }
        default:
            throw refused(
                "\(path).type",
                "is \(Printable.quoted(String(type.prefix(32)))); only text and image_url are passed on.")
        }
    }

    // MARK: Tools and formats

    private mutating func checkTools(_ value: JSONTree) throws(ErrorBody) {
        guard let tools = value.elements, !tools.isEmpty else { return }
        guard tools.count <= Self.toolsMax else {
            throw .over("tools", "holds \(tools.count) tools; at most \(Self.toolsMax) are allowed.")
        }
        for (index, tool) in tools.enumerated() {
            let path = "tools[\(index)]"
            guard tool["type"]?.text == "function" else {
                throw refused("\(path).type", "must be function: only functions are passed on.")
            }
            guard tool["function"]?["name"]?.text != nil else {
                throw .invalid("`\(path).function.name` must be text.", param: "\(path).function.name")
            }
            if let parameters = tool["function"]?["parameters"], !parameters.isNull {
                try checkSchema(parameters, "\(path).function.parameters")
            }
        }
        needs.insert(.tools)
    }

    private func checkToolChoice(_ value: JSONTree, of request: JSONTree) throws(ErrorBody) {
        if let word = value.text, ["none", "auto"].contains(word) { return }
        let name = value["function"]?["name"]?.text
        guard value.text == "required" || value["type"]?.text == "function" && name != nil else {
            let words = "must be none, auto, required, or one function."
            guard value.text != nil || value["type"]?.text != nil else {
                throw .invalid("`tool_choice` \(words)", param: "tool_choice")
            }
            throw refused("tool_choice", words)
        }
        let names = (request["tools"]?.elements ?? []).map { $0["function"]?["name"]?.text }
        guard name.map({ names.contains($0) }) ?? !names.isEmpty else {
            throw refused("tool_choice", "asks for a function that isn't in `tools`.")
        }
    }

    private mutating func checkFormat(_ value: JSONTree) throws(ErrorBody) {
        guard let type = value["type"]?.text else {
            throw .invalid("`response_format.type` must be text.", param: "response_format.type")
        }
        switch type {
        case "text": return
        case "json_object": needs.insert(.jsonSchema)
        case "json_schema":
            let path = "response_format.json_schema"
            guard let format = value["json_schema"], format.members != nil else {
                throw .invalid("`\(path)` must be an object.", param: path)
            }
            if let schema = format["schema"], !schema.isNull {
                try checkSchema(schema, "\(path).schema")
                besideBytes += schema.bytes.count
            }
            needs.insert(.jsonSchema)
        default: throw refused("response_format.type", "must be text, json_object or json_schema.")
        }
    }

    /// All schemas of a request together may have this many times the values of one: an agent has many tools.
    private static let schemasTogether = 4

    private mutating func checkSchema(_ schema: JSONTree, _ path: String) throws(ErrorBody) {
        guard schema.members != nil || schema.flag != nil else {
            throw .invalid("`\(path)` must be a JSON schema.", param: path)
        }
        let bytes = schema.bytes.count
        guard bytes <= limits.schemaBytes else {
            throw .over(path, "has \(bytes) bytes; at most \(limits.schemaBytes) are allowed.")
        }
        let cost = SchemaCost(schema)
        if let target = cost.remote {
            throw refused(
                path,
                "refers to \(Printable.quoted(String(target.prefix(100)))): `$ref` must stay inside the schema (#/…)."
            )
        }
        guard cost.depth <= limits.schemaDepth else {
            throw .over(path, "is \(cost.depth) levels deep; at most \(limits.schemaDepth) are allowed.")
        }
        schemaValues += min(cost.values, limits.schemaValues + 1)
        guard schemaValues <= Self.schemasTogether * limits.schemaValues else {
            throw .over(
                path,
                "and the schemas before it have \(schemaValues) values, branches and repetitions; at most \(Self.schemasTogether * limits.schemaValues) are allowed together."
            )
        }
        guard cost.values <= limits.schemaValues else {
            throw .over(
                path,
                "has \(cost.values) values, branches and repetitions; at most \(limits.schemaValues) are allowed."
            )
        }
    }
}
