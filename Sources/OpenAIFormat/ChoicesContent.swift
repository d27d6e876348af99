/// What a list of `choices` says to the client that gets it. A worker's word for its content is not enough: a list
/// without a word would pass as an answer, be paid for, and keep other workers from being asked.
public enum ChoicesContent: Sendable {
    /// Not a list of choices, or one whose choices no client can have asked for.
    case malformed
    /// No choice says anything: roles, reasons to end, log-probabilities or unknown members.
    case none
    case some

    /// The members of a chat's `delta` or `message` that can hold an answer, among them those of widespread model
    /// servers beside OpenAI's own.
    static let members: Set<String> = [
        "content", "refusal", "tool_calls", "function_call", "audio", "reasoning", "reasoning_content",
        "thinking",
    ]

    /// Called once a token on the loop's thread, where answers have log-probabilities: scanned in one pass, and
    /// only what is unusual is parsed into a tree.
    public init(of json: [UInt8]) {
        self = json.withUnsafeBufferPointer { ChoicesScanner.scan($0) } ?? Self(parsing: json)
    }

    /// The same by a tree, at some twenty times the cost.
    init(parsing json: [UInt8]) {
        guard let choices = (try? JSONTree(parsing: json))?.elements else {
            self = .malformed
            return
        }
        var says = false
        for choice in choices {
            guard choice.members != nil, (choice["index"]?.whole ?? 0) < ClientRequest.choicesMax else {
                self = .malformed
                return
            }
            if Self.says(choice) { says = true }
        }
        self = says ? .some : .none
    }

    private static func says(_ choice: JSONTree) -> Bool {
        if choice["text"]?.text?.isEmpty == false { return true }
        return [choice["delta"], choice["message"]].contains { part in
            part?.members?.contains { members.contains($0.key) && holdsText($0.value) } ?? false
        }
    }

    /// Whether there is a string that isn't empty anywhere in it. The parser bounds its depth.
    private static func holdsText(_ value: JSONTree) -> Bool {
        switch value {
        case .string(let text): !text.isEmpty
        case .array(let elements): elements.contains { holdsText($0) }
        case .object(let members): members.contains { holdsText($0.value) }
        case .number, .bool, .null: false
        }
    }
}
