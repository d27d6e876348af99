/// Derives a model's canonical name from its server's name for it: `Protocol/models.md`, rules 2, 4 and 5.
///
/// Two nodes with the same weights find each other only under the same name, so an operator who names no
/// model depends on this. Rule 3 (GGUF metadata) is not here: it needs a question to the server.
public struct ModelName: Sendable, Hashable {
    public static let sizeMax = 64

    /// Whether `name` follows the rules for a canonical name.
    public static func isCanonical(_ name: String) -> Bool {
        (1...sizeMax).contains(name.utf8.count) && normalized(name) == name
    }

    /// Empty when nothing usable is left; longer than `sizeMax` when the operator must choose a name.
    public let canonical: String
    /// The precision of the weights according to the name: `q4_k_m`, `awq`; nil if it says nothing.
    public let quantization: String?
    /// The name isn't known to be published, so other nodes may use another one for this model.
    public let isGuessed: Bool

    /// - Parameter isOllama: whether `name` is one of Ollama's tags, which have a table.
    public init(_ name: String, isOllama: Bool = false) {
        var text = String(name.split(separator: "/").last ?? "").asciiLowercased
        if text.hasSuffix(".gguf") {
            text.removeLast(5)
            if let shard = text.wholeMatch(of: /(.+)-\d{5}-of-\d{5}/) { text = String(shard.1) }
        }
        var found: [String] = []
        while let (rest, word) = Self.splitQuantization(text) {
            text = rest
            found.append(word)
        }
        quantization = found.min { Self.rank($0) < Self.rank($1) }.flatMap { Self.rank($0) < 4 ? $0 : nil }
        if isOllama, !name.contains("/"), let row = Self.ollama(text) {
            canonical = row
            isGuessed = false
        } else {
            canonical = Self.normalized(text)
            isGuessed = !name.contains("/")
        }
    }

    // MARK: Quantizations

    private static let separators: Set<Character> = ["-", "_", ".", ":", "@"]
    /// Words for a quantization, the most specific row first; the last row states nothing usable.
    private static let words: [[String]] = [
        ["awq", "gptq", "exl2", "exl3", "bnb", "mxfp4", "nvfp4"],
        ["bf16", "f16", "f32", "fp16", "fp8", "fp4"],
        ["int4", "int8", "w4a16", "w8a8", "2bit", "3bit", "4bit", "5bit", "6bit", "8bit"],
        ["gguf", "mlx", "ud", "imat", "i1"],
    ]

    /// 0 for GGUF's own terms, then the rows of `words`.
    private static func rank(_ word: String) -> Int {
        (words.firstIndex { $0.contains(word) } ?? -1) + 1
    }

    private static func isQuantization(_ word: Substring) -> Bool {
        words.contains { $0.contains(String(word)) }
            || word.wholeMatch(of: /i?q[1-8](_(0|1|k|s|m|l|xl|xs|xxs|nl))+/) != nil
    }

    /// Splits off a quantization at the end, and the separator before it.
    private static func splitQuantization(_ text: String) -> (rest: String, word: String)? {
        for index in text.indices where separators.contains(text[index]) && index > text.startIndex {
            let word = text[text.index(after: index)...]
            if isQuantization(word) { return (String(text[..<index]), String(word)) }
        }
        return nil
    }

    // MARK: Normalising

    private static func normalized(_ name: String) -> String {
        var text = name
        if let match = text.wholeMatch(of: /(.+)[-_.:@]latest/) { text = String(match.1) }
        if text.hasPrefix("meta-llama-") { text.removeFirst(5) }
        var out = ""
        for character in text {
            switch character {
            case "a"..."z", "0"..."9", ".": out.append(character)
            case "-", "_", " ", ":", "@": if !out.hasSuffix("-") { out.append("-") }
            default: break
            }
        }
        while let first = out.first, first == "-" || first == "." { out.removeFirst() }
        while let last = out.last, last == "-" || last == "." { out.removeLast() }
        return out
    }

    // MARK: Ollama

    /// Family; canonical pattern (SIZE stands for the tag's size); variant of a tag that names none.
    private static let families: [(tag: String, canonical: String, variant: String)] = [
        ("llama3", "llama-3-SIZE", "-instruct"), ("llama3.1", "llama-3.1-SIZE", "-instruct"),
        ("llama3.2", "llama-3.2-SIZE", "-instruct"), ("llama3.3", "llama-3.3-SIZE", "-instruct"),
        ("qwen2.5", "qwen2.5-SIZE", "-instruct"), ("qwen2.5-coder", "qwen2.5-coder-SIZE", "-instruct"),
        ("qwen3", "qwen3-SIZE", ""), ("gemma2", "gemma-2-SIZE", "-it"), ("gemma3", "gemma-3-SIZE", "-it"),
        ("mistral:7b", "mistral-7b", "-instruct-v0.3"), ("mixtral:8x7b", "mixtral-8x7b", "-instruct-v0.1"),
        ("mistral-nemo:12b", "mistral-nemo", "-instruct-2407"), ("phi4:14b", "phi-4", ""),
        ("smollm2", "smollm2-SIZE", "-instruct"), ("tinyllama:1.1b", "tinyllama-1.1b", "-chat-v1.0"),
        ("gpt-oss", "gpt-oss-SIZE", ""), ("deepseek-r1:1.5b", "deepseek-r1-distill-qwen-1.5b", ""),
        ("deepseek-r1:7b", "deepseek-r1-distill-qwen-7b", ""),
        ("deepseek-r1:14b", "deepseek-r1-distill-qwen-14b", ""),
        ("deepseek-r1:32b", "deepseek-r1-distill-qwen-32b", ""),
        ("deepseek-r1:70b", "deepseek-r1-distill-llama-70b", ""),
        ("all-minilm:22m", "all-minilm-l6-v2", ""),
    ]
    /// Models of a single size, whose tags name none.
    private static let singles = [
        "nomic-embed-text": "nomic-embed-text-v1.5", "mxbai-embed-large": "mxbai-embed-large-v1",
        "bge-m3": "bge-m3",
    ]

    private static func ollama(_ text: String) -> String? {
        let parts = text.split(separator: ":", maxSplits: 1)
        guard let family = parts.first else { return nil }
        if let single = singles[String(family)] { return single }
        // A tag without a size is `latest`, which may change.
        guard parts.count == 2, let size = parts[1].prefixMatch(of: /\d[0-9a-z.]*/)?.0 else { return nil }
        let variant = parts[1].dropFirst(size.count)
        guard variant.isEmpty || variant.hasPrefix("-"),
            let row = families.first(where: { $0.tag == family || $0.tag == "\(family):\(size)" })
        else { return nil }
        return normalized(
            row.canonical.replacing("SIZE", with: size) + (variant.isEmpty ? row.variant : String(variant)))
    }
}

extension String {
    fileprivate var asciiLowercased: String {
        String(map { $0.isASCII ? Character($0.lowercased()) : $0 })
    }
}
