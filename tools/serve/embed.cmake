# Writes C++ that defines octet::serve::NAME with the content of a file.
# cmake -DNAME=... -DINPUT=... -DOUTPUT=... -P embed.cmake
file(READ ${INPUT} content HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" content "${content}")
string(REGEX REPLACE "((\\\\x..)(\\\\x..)?(\\\\x..)?(\\\\x..)?(\\\\x..)?(\\\\x..)?(\\\\x..)?(\\\\x..)?)"
       "\"\\1\"\n" content "${content}")
file(WRITE ${OUTPUT} "#include \"tools/serve/assets.h\"\n
namespace octet::serve {
namespace {
constexpr char content[] =\n${content};
}
const std::string_view ${NAME}(content, sizeof content - 1);
}
")
