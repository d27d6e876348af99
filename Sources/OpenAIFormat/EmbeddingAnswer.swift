// An embedding's answer, rebuilt from the worker's: we take only the vectors and write the rest. OpenAI's
// Python package asks for base64 by default while backends return floats, so either form is converted into
// the other.

/// The response to `/v1/embeddings`.
public enum EmbeddingAnswer {
    /// Returns nil when the worker's JSON is no answer to that many inputs.
    public static func body(
        _ json: [UInt8], inputs: Int, model: String, base64: Bool, usage: Usage
    ) -> [UInt8]? {
        guard let content = EmbeddingContent(scanning: json, inputs: inputs) else { return nil }
        var out: [UInt8] = []
        out.reserveCapacity(json.count + 512)
        out += #"{"object":"list","data":["#.utf8
        for (index, vector) in content.vectors.enumerated() {
            out += "\(index > 0 ? "," : ""){\"object\":\"embedding\",\"index\":\(index),\"embedding\":".utf8
            write(json[vector.range], isBase64: vector.isBase64, asBase64: base64, to: &out)
            out.append(UInt8(ascii: "}"))
        }
        out += #"],"model":"#.utf8
        JSONTree.string(model).write(to: &out)
        out += #","usage":"#.utf8
        usage.json.write(to: &out)
        out += #","starling":"#.utf8
        usage.starling.write(to: &out)
        out.append(UInt8(ascii: "}"))
        return out
    }

    private static func write(
        _ vector: ArraySlice<UInt8>, isBase64: Bool, asBase64: Bool, to out: inout [UInt8]
    ) {
        switch (isBase64, asBase64) {
        case (false, false): out += vector
        case (true, true): out += [UInt8(ascii: "\"")] + vector + [UInt8(ascii: "\"")]
        case (false, true): out += "\"\(Base64.encode(floats(vector)))\"".utf8
        case (true, false):
            out.append(UInt8(ascii: "["))
            let bytes = vector.withUnsafeBufferPointer { Base64.decode($0) } ?? []
            for start in stride(from: 0, to: bytes.count, by: 4) {
                let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) }
                out += "\(start > 0 ? "," : "")\(Float(bitPattern: bits))".utf8
            }
            out.append(UInt8(ascii: "]"))
        }
    }

    /// The numbers of a list as little-endian floats.
    private static func floats(_ list: ArraySlice<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        for number in list.split(whereSeparator: { !JSONCursor.isNumber($0) }) {
            let bits = Float(Double(String(decoding: number, as: UTF8.self)) ?? 0).bitPattern
            for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: bits >> shift)) }
        }
        return bytes
    }
}
