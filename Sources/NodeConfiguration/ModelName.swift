/// The canonical name of a model from the name that its server has for it: `Protocol/models.md`, rules 2, 4 and 5.
///
/// Two nodes with the same weights meet only under the same name, so this is what sells a model when the operator
/// names none. Not here: rule 3, GGUF metadata, which a server has to be asked for.
public struct ModelName: Sendable, Hashable {
    public static let sizeMax = 64

    /// Empty when nothing usable is left; longer than `sizeMax` when the model needs a name from its operator.
    public let canonical: String
    /// What the name says of the weights' precision: `q4_k_m`, `awq`; nil: nothing.
    public let quantization: String?
    /// Nobody published this name, as far as can be told: others may know the model by another one.
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

    // MARK: Quantisations

    private static let separators: Set<Character> = ["-", "_", ".", ":", "@"]
    /// By what they tell, the most precise first; the last row tells nothing that could be stated.
    private static let words: [[String]] = [
        ["awq", "gptq", "exl2", "exl3", "bnb", "mxfp4", "nvfp4"],
        ["bf16", "f16", "f32", "fp16", "fp8", "fp4"],
        ["int4", "int8", "w4a16", "w8a8", "2bit", "3bit", "4bit", "5bit", "6bit", "8bit"],
        ["gguf", "mlx", "ud", "imat", "i1"],
    ]

    /// 0: GGUF's own words; then the rows of `words`.
    private static func rank(_ word: String) -> Int {
        (words.firstIndex { $0.contains(word) } ?? -1) + 1
    }

    private static func isQuantization(_ word: Substring) -> Bool {
        words.contains { $0.contains(String(word)) }
            || word.wholeMatch(of: /i?q[1-8](_(0|1|k|s|m|l|xl|xs|xxs|nl))+/) != nil
    }

    /// The text without the quantisation at its end and the character before it.
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

    /// Family; what stands for it (SIZE: the tag's size); variant of a tag without one.
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
    /// Models of one size, whose tags need none.
    private static let singles = [
        "nomic-embed-text": "nomic-embed-text-v1.5", "mxbai-embed-large": "mxbai-embed-large-v1",
        "bge-m3": "bge-m3",
    ]

    private static func ollama(_ text: String) -> String? {
        let parts = text.split(separator: ":", maxSplits: 1)
        guard let family = parts.first else { return nil }
        if let single = singles[String(family)] { return single }
        // A tag without size is `latest`, which moves.
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
