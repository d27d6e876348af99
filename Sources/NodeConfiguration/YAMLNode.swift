import CYAML

/// A value of a YAML file, and where it stands: what libyaml reads (YAML 1.1), without tags.
struct YAMLNode {
    enum Content {
        case scalar(String, isPlain: Bool)
        case sequence([YAMLNode])
        case mapping([(key: YAMLNode, value: YAMLNode)])
    }

    struct Failure: Error {
        var line: Int?
        var problem: String
        var fix = "indent with spaces, and quote values that hold `:` or `#`"
    }

    /// Deeper values are refused, and more of them: an alias can stand for itself, and ten aliases of ten for any number.
    private static let depthMax = 64
    private static let countMax = 1_000_000

    let content: Content
    /// 1-based; nil when it comes from no file.
    let line: Int?

    /// A scalar that is taken as it is.
    init(_ text: String) {
        content = .scalar(text, isPlain: false)
        line = nil
    }

    private init(_ content: Content, line: Int) {
        self.content = content
        self.line = line
    }

    var string: String? { if case .scalar(let text, _) = content { text } else { nil } }
    var sequence: [YAMLNode]? { if case .sequence(let items) = content { items } else { nil } }
    var mapping: [(key: YAMLNode, value: YAMLNode)]? {
        if case .mapping(let pairs) = content { pairs } else { nil }
    }
    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// Of a mapping, the value of `key`.
    subscript(key: String) -> YAMLNode? { mapping?.first { $0.key.string == key }?.value }

    /// Reads the first document of `text`; nil when there is none.
    static func parse(_ text: String) throws(Failure) -> YAMLNode? {
        var parser = yaml_parser_t()
        guard yaml_parser_initialize(&parser) == 1 else { throw Failure(problem: "out of memory") }
        defer { yaml_parser_delete(&parser) }
        // The parser keeps the pointer: all of its work is inside.
        return try Array(text.utf8).withUnsafeBufferPointer { bytes throws(Failure) -> YAMLNode? in
            yaml_parser_set_input_string(&parser, bytes.baseAddress, bytes.count)
            var document = yaml_document_t()
            guard yaml_parser_load(&parser, &document) == 1 else {
                throw Failure(
                    line: Int(parser.problem_mark.line) + 1,
                    problem: "not YAML: " + (parser.problem.map { String(cString: $0) } ?? "unreadable"))
            }
            defer { yaml_document_delete(&document) }
            guard let root = yaml_document_get_root_node(&document) else { return nil }
            var count = 0
            return try node(root.pointee, of: &document, depth: 0, &count)
        }
    }

    private static func node(
        _ node: yaml_node_t, of document: inout yaml_document_t, depth: Int, _ count: inout Int
    ) throws(Failure) -> YAMLNode {
        let line = Int(node.start_mark.line) + 1
        count += 1
        guard depth <= depthMax, count <= countMax else {
            throw Failure(
                line: line, problem: "nested too deeply, or too large", fix: "write less, without aliases")
        }
        func at(_ index: Int32) throws(Failure) -> YAMLNode {
            guard let found = yaml_document_get_node(&document, index) else {
                throw Failure(line: line, problem: "unreadable")
            }
            return try self.node(found.pointee, of: &document, depth: depth + 1, &count)
        }
        switch node.type {
        case YAML_SEQUENCE_NODE:
            let items = node.data.sequence.items
            var found: [YAMLNode] = []
            for item in UnsafeBufferPointer(start: items.start, count: items.top - items.start) {
                found.append(try at(item))
            }
            return YAMLNode(.sequence(found), line: line)
        case YAML_MAPPING_NODE:
            let pairs = node.data.mapping.pairs
            var found: [(key: YAMLNode, value: YAMLNode)] = []
            var names: Set<String> = []
            for pair in UnsafeBufferPointer(start: pairs.start, count: pairs.top - pairs.start) {
                let (key, value) = (try at(pair.key), try at(pair.value))
                if let name = key.string, !names.insert(name).inserted {
                    throw Failure(
                        line: key.line, problem: "the key \(name) appears twice", fix: "remove one of the two"
                    )
                }
                found.append((key, value))
            }
            return YAMLNode(.mapping(found), line: line)
        default:
            let scalar = node.data.scalar
            let text = String(
                decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            return YAMLNode(.scalar(text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE), line: line)
        }
    }
}
