extension String {
    /// `badSignature` as JSON documents write it: `bad_signature`. ASCII only.
    public var snakeCased: String {
        var text = ""
        for character in self {
            if character.isASCII, character.isUppercase {
                if !text.isEmpty { text += "_" }
                text += character.lowercased()
            } else {
                text.append(character)
            }
        }
        return text
    }
}
