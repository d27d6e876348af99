import OpenAIFormat
import Primitives

/// The first byte selects what follows: a model server's event stream, its error, its embeddings, or a stranger's
/// request for a worker.
func fuzzOpenAI(_ bytes: [UInt8]) {
    var input = FuzzInput(bytes)
    let choice = input.byte()
    switch choice & 3 {
    case 0, 1:
        let piece = Int(input.byte()) + 1
        stream(input.remaining(), inPiecesOf: piece)
    case 2 where choice & 4 == 0: _ = BackendErrorBody(body: input.remaining())
    case 2: embedding(input.remaining(), inputs: Int(choice >> 3))
    default: request(choice, &input)
    }
}

/// A stream must have the same events whether it arrives in pieces or whole.
private func stream(_ bytes: [UInt8], inPiecesOf size: Int) {
    var whole: [ServerSentEvent] = []
    var parser = ServerSentEvents(lengthMax: 512)
    let isWhole = (try? parser.feed(bytes, into: &whole)) != nil
    var pieces: [ServerSentEvent] = []
    var second = ServerSentEvents(lengthMax: 512)
    var isPieced = true
    var rest = bytes[...]
    while isPieced, !rest.isEmpty {
        isPieced = (try? second.feed(Array(rest.prefix(size)), into: &pieces)) != nil
        rest = rest.dropFirst(size)
    }
    precondition(isWhole == isPieced && whole == pieces, "pieces of \(size) are read differently")
    for event in whole {
        precondition(event.data.count <= 512, "an event of \(event.data.count) bytes")
        guard let chunk = try? BackendChunk(scanning: event.data) else { continue }
        precondition(chunk.text.count <= event.data.count, "text longer than its chunk")
        if !chunk.complex.isEmpty {
            precondition((try? JSONTree(parsing: chunk.complex)) != nil, "`choices` that are no JSON")
        }
        var characters = WholeCharacters()
        let text = (characters.append(chunk.text, tokens: 1)?.text ?? []) + (characters.flush()?.text ?? [])
        precondition(String(validating: text, as: UTF8.self) != nil, "text that is not UTF-8")
    }
}

/// Whatever counts as an answer can be written as one, in either form.
private func embedding(_ bytes: [UInt8], inputs: Int) {
    guard EmbeddingContent(scanning: bytes, inputs: inputs) != nil else { return }
    let usage = Usage(
        promptTokens: 1, cachedTokens: 0, completionTokens: 0, cost: .zero, task: "t", workers: [],
        failovers: 0)
    var json = bytes
    for base64 in [false, true, false] {
        guard
            let body = EmbeddingAnswer.body(json, inputs: inputs, model: "m", base64: base64, usage: usage),
            let items = (try? JSONTree(parsing: body))?["data"]?.elements
        else { preconditionFailure("an answer that can't be written as JSON") }
        precondition(items.count == inputs, "\(items.count) vectors of \(inputs)")
        json = body
    }
}

/// What a worker passes on must be JSON with listed fields only.
private func request(_ choice: UInt8, _ input: inout FuzzInput) {
    let kinds: [InferenceKind] = [.chat, .completion, .embedding]
    let dialects = BackendDialect.allCases
    let options = WorkerRequest.Options(
        dialect: dialects[Int(choice >> 4) % dialects.count], model: "m",
        extraFields: input.flag() ? ["x"] : [])
    let delivered = input.flag() ? input.bytes() : []
    let limit = input.flag() ? input.number32() : nil
    let body = input.remaining()
    if let tree = try? JSONTree(parsing: body) {
        precondition((try? JSONTree(parsing: tree.bytes)) == tree, "JSON is read differently again")
    }
    guard
        let request = try? WorkerRequest(
            kinds[Int(choice >> 2) % 3], body: body, delivered: delivered, maxTokens: limit, options: options)
    else { return }
    let sent = try? JSONTree(parsing: request.body)
    precondition(sent?["model"]?.text == "m", "the model's name is another")
    for banned in ["chat_template", "keep_alive", "grammar", "template", "user", "provider"] {
        precondition(sent?[banned] == nil, "`\(banned)` is passed on")
    }
    precondition(request.droppedFields.count <= 32, "\(request.droppedFields.count) dropped fields")
}
