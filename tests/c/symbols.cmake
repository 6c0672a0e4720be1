# cmake -D HEADER=octet/c.h -D MAP=symbols.map -D LIBRARY=liboctet.so -D NM=nm -P symbols.cmake
# The functions that the C header declares, those that the version script lists, and those that the
# library exports are the same; and nothing of other libraries or of the inside of this one leaks.
function(matches output text pattern)
  string(REGEX MATCHALL "${pattern}" found "${text}")
  list(TRANSFORM found REPLACE "${pattern}" "\\1")
  list(SORT found)
  set(${output} "${found}" PARENT_SCOPE)
endfunction()

function(expect_same what a b)
  if(NOT a STREQUAL b)
    message(SEND_ERROR "${what}:\n  ${a}\n  ${b}")
  endif()
endfunction()

file(READ ${HEADER} text)
matches(declared "${text}" "OCTET_API[^(]*(octet_[a-z0-9_]+)\\(")
list(LENGTH declared count)
if(count LESS 30)
  message(FATAL_ERROR "${HEADER}: only ${count} functions found")
endif()

file(READ ${MAP} text)
string(REPLACE ";" "," text "${text}")
string(REGEX MATCH "OCTET_0\\.1 [^}]*}" version "${text}")
matches(listed "${version}" "(octet_[a-z0-9_]+),")
expect_same("declared in ${HEADER}, and listed in ${MAP}" "${declared}" "${listed}")

execute_process(COMMAND ${NM} --dynamic --defined-only --with-symbol-versions ${LIBRARY}
                OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
matches(exported "${text}" "[0-9a-f]+ T ([^\n]+@@OCTET_0\\.1)\n")
list(TRANSFORM exported REPLACE "@@OCTET_0.1$" "")
expect_same("listed in ${MAP}, and exported by ${LIBRARY}" "${listed}" "${exported}")

matches(others "${text}" "[0-9a-f]+ [^A] ([^\n]+)\n")
list(FILTER others EXCLUDE REGEX "@@OCTET_0\\.1$")
list(FILTER others EXCLUDE REGEX "^_Z(N|NK|TIN|TSN|TVN)5octet.*@@OCTET_CXX_0\\.1$")
if(others)
  message(SEND_ERROR "${LIBRARY} also exports ${others}")
endif()
list(LENGTH exported count)
message(STATUS "${count} C functions in OCTET_0.1")
