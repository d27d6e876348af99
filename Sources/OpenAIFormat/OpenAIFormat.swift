// OpenAIFormat
