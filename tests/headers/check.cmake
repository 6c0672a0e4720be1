# cmake -D CXX=compiler -D INCLUDE=folder -D WORK=folder -P check.cmake
set(max_lines 25000)
set(std -std=c++20)
file(GLOB headers RELATIVE ${INCLUDE} ${INCLUDE}/octet/*.h)
if(NOT headers)
  message(FATAL_ERROR "no header in ${INCLUDE}/octet")
endif()

function(compile output)
  execute_process(COMMAND ${CXX} ${std} -I${INCLUDE} ${ARGN} RESULT_VARIABLE status
                  OUTPUT_VARIABLE text ERROR_VARIABLE errors)
  if(status)
    message(SEND_ERROR "${header} does not compile on its own:\n${errors}")
  endif()
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

foreach(header ${headers})
  string(REPLACE "/" "_" source ${header}.cpp)
  set(source ${WORK}/${source})
  # Twice: a header must guard itself.
  file(WRITE ${source} "#include <${header}>\n#include <${header}>\n")
  compile(unused -Wall -Wextra -Wshadow -Werror -fsyntax-only ${source})

  compile(text -E -P ${source})
  string(REGEX REPLACE "[^\n]" "" newlines "${text}")
  string(LENGTH "${newlines}" lines)
  message(STATUS "${header}: ${lines} preprocessed lines")
  if(lines GREATER_EQUAL max_lines)
    message(SEND_ERROR "${header}: ${lines} preprocessed lines, fewer than ${max_lines} expected")
  endif()

  # -M lists the headers of system folders too, where third-party ones are.
  compile(depends -M ${source})
  string(REPLACE "${INCLUDE}/" "" depends "${depends}")
  string(REPLACE "${WORK}/" "" depends "${depends}")
  string(REGEX MATCH "[^ ]*(xsimd|nlohmann|cuda|cblas|pcre2|utf8proc|sentencepiece|CLI|httplib)[^ ]*"
               foreign "${depends}")
  if(foreign)
    message(SEND_ERROR "${header} includes ${foreign}")
  endif()
endforeach()
