import NodeConfiguration
import Testing

/// The examples and general rules of Protocol/models.md.
@Suite struct ModelNameTests {
    @Test(arguments: [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct", nil),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "qwen2.5-7b-instruct", "awq"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "qwen3-30b-a3b-instruct-2507", "fp8"),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "llama-3.1-8b-instruct", "awq"),
        ("lmstudio-community/gemma-3-4b-it-GGUF", "gemma-3-4b-it", nil),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "tinyllama-1.1b-chat-v1.0", nil),
        ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", "deepseek-r1-0528-qwen3-8b", nil),
        ("house-model", "house-model", nil), ("wren-m", "wren-m", nil),
        ("Qwen2.5-Coder-7B-Instruct-Q4_K_M-00001-of-00003.gguf", "qwen2.5-coder-7b-instruct", "q4_k_m"),
        ("a__b c@d", "a-b-c-d", nil), ("-.x.-", "x", nil), ("ö", "", nil), ("", "", nil),
        ("q8_0", "q8-0", nil),
    ])
    func aServersNameHasItsCanonicalForm(name: String, canonical: String, quantization: String?) {
        let model = ModelName(name)
        #expect(model.canonical == canonical && model.quantization == quantization)
    }

    @Test(arguments: [
        ("llama3.1:8b-instruct-q4_K_M", "llama-3.1-8b-instruct", "q4_k_m"),
        ("llama3.2:3b", "llama-3.2-3b-instruct", nil), ("qwen3:8b", "qwen3-8b", nil),
        ("gemma3:4b", "gemma-3-4b-it", nil), ("mistral:7b", "mistral-7b-instruct-v0.3", nil),
        ("mistral-nemo:12b-instruct-2407-q4_0", "mistral-nemo-instruct-2407", "q4_0"),
        ("phi4:14b", "phi-4", nil), ("deepseek-r1:7b", "deepseek-r1-distill-qwen-7b", nil),
        ("deepseek-r1:8b", "deepseek-r1-8b", nil), ("nomic-embed-text:latest", "nomic-embed-text-v1.5", nil),
        ("hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "llama-3.2-3b-instruct", "q4_k_m"),
        ("llama3.2:latest", "llama3.2", nil),
    ])
    func anOllamaTagHasItsRow(tag: String, canonical: String, quantization: String?) {
        let model = ModelName(tag, isOllama: true)
        #expect(model.canonical == canonical && model.quantization == quantization)
    }

    @Test(arguments: ["llama-3.1-8b-instruct", "qwen2.5-coder-7b-instruct", "phi-4", "nomic-embed-text-v1.5"])
    func aCanonicalNameStaysAsItIs(name: String) { #expect(ModelName(name).canonical == name) }

    @Test func onlyANameThatNobodyPublishedIsAGuess() {
        #expect(ModelName("house-model").isGuessed && ModelName("llama3.2", isOllama: true).isGuessed)
        #expect(!ModelName("Qwen/Qwen3-8B").isGuessed && !ModelName("qwen3:8b", isOllama: true).isGuessed)
    }

    @Test func aNameThatNoOfferCanHoldNeedsAnotherOne() {
        let entry = "serve: [{backend: vllm, model: \(String(repeating: "a", count: 65))}]\n"
        #expect(throws: ConfigurationError.self) {
            try NodeSettings(parsing: entry, source: .init(file: "node.yaml"), home: "/home/ann")
        }
    }
}
