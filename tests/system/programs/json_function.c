/* A function in C by the format json, with nothing but the C library: answers each call with the call's own body.

   A call is one line; its body is copied as the JSON string that it is, escapes and all. A body of "exit" ends it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Return the end of the JSON string that starts behind its opening quote. */
static char *end_of_string(char *at) {
    while (*at && *at != '"')
        at += *at == '\\' && at[1] ? 2 : 1;
    return at;
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        char *body = strstr(line, "\"body\":\"");
        if (!body)
            return 1;
        body += strlen("\"body\":\"");
        *end_of_string(body) = '\0';
        if (strcmp(body, "exit") == 0)
            return 0;
        printf("{\"body\":\"%s\",\"content_type\":\"text/plain\",\"protocol\":{\"status_code\":201,"
               "\"headers\":{\"X-Language\":[\"C\"]}}}\n", body);
        fflush(stdout);
    }
    free(line);
    return 0;
}
